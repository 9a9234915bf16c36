"""Values of every kind that a scrubber must find, made by formula.

A value may hold text between ‹ and › that need not go, such as the name of a query's parameter (see `texts`).
"""

from dataclasses import dataclass

from tests.scrubbing import devices, places, said, secrets
from tests.scrubbing.drawing import Maker, any_of, hexadecimal
from tests.scrubbing.people import PEOPLE, WRITTEN, fill


@dataclass(frozen=True)
class Kind:
    """How values of a kind are made.

    keyed    a form that counts behind an identifying key; None if there is no such thing
    alone    a form that shows by itself; None if a key is needed
    """

    keyed: Maker | None = None
    alone: Maker | None = None


def _person(name: str) -> Kind:
    masks = WRITTEN.get(name)
    return Kind(PEOPLE[name], masks and (lambda rng: fill(rng.choice(masks), PEOPLE[name](rng))))


KINDS: dict[str, Kind] = {
    "email": Kind(devices.email, any_of(devices.email, devices.email, devices.email, devices.quoted_email)),
    "phone": Kind(
        any_of(devices.national, devices.international),
        any_of(devices.international, devices.international, devices.punctuated_phone),
    ),
    "imei": Kind(any_of(devices.imei, devices.written_imei), any_of(devices.imei, devices.written_imei)),
    "imeisv": Kind(devices.imeisv),
    "meid": Kind(devices.meid),
    "imsi": Kind(devices.imsi),
    "iccid": Kind(devices.iccid),
    "serial": Kind(devices.serial),
    "android_id": Kind(hexadecimal(16)),
    "long_hex": Kind(
        any_of(hexadecimal(32), hexadecimal(40), hexadecimal(64), lambda rng: hexadecimal(32)(rng).upper())
    ),
    "fcm_token": Kind(devices.fcm_token, devices.fcm_token),
    "mac": Kind(any_of(devices.mac, hexadecimal(12)), devices.mac),
    "bssid": Kind(devices.mac),
    "ssid": Kind(devices.ssid),
    "bluetooth_name": Kind(devices.bluetooth_name),
    "ipv4": Kind(None, devices.ipv4),
    "ipv6": Kind(None, devices.ipv6),
    "uuid": Kind(any_of(devices.uuid, hexadecimal(32)), devices.uuid),
    "card": Kind(any_of(places.card, places.written_card), any_of(places.card, places.written_card)),
    "iban": Kind(places.iban, places.iban),
    **{name: _person(name) for name in PEOPLE},
    "passport": Kind(places.passport),
    "person_name": Kind(said.person_name, said.person_name),
    "one_time_code": Kind(said.one_time_code, said.one_time_code),
    "birth_date": Kind(said.birth_date, said.birth_date),
    "coordinates": Kind(places.degree, places.coordinates),
    "url_user": Kind(None, places.url_user),
    "url_query": Kind(None, places.url_query),
    "url_fragment": Kind(None, places.url_fragment),
    "user_path": Kind(None, places.user_path),
    "content_account": Kind(None, places.content_account),
    "jwt": Kind(secrets.jwt, secrets.jwt),
    "bearer": Kind(None, secrets.bearer),
    "basic": Kind(None, secrets.basic),
    "aws": Kind(secrets.aws_key, secrets.aws_key_id),
    "gcp": Kind(secrets.gcp, secrets.gcp),
    "slack": Kind(secrets.slack, secrets.slack),
    "github": Kind(secrets.github, secrets.github),
    "private_key": Kind(None, secrets.private_key),
    "cookie": Kind(None, secrets.cookie),
    "secret": Kind(secrets.secret),
}
