"""Recognisers of identifiers by the key before them: of devices, networks, places and accounts."""

from schemas.recogniser import (
    JOINED,
    LOOSELY,
    MARKS,
    NAME,
    NAME_END,
    OF_A_SLOT,
    OF_SOMEBODY,
    PRINTED,
    WORD,
    Recogniser,
    named_shape,
    named_text,
    whole_words,
)

_DECIMAL = r"[-+]?[0-9]{1,3}\.[0-9]+"

_DEVICES = (
    named_shape(
        name="device_number",
        tag="DEVICE_ID",
        clause="1.1.2-dev",
        keys=r"(?i:imei(?:[_ /-]?sv)?|imsi|icc[_ .-]?id|meid|subscriber(?:[_ .-]?ids?)?)|"
        + whole_words("eid|esn|pesn|sim[_ .-]?serial(?:[_ .-]?number)?|sim[_ .-]?number|tac[_ .-]?fac"),
        loosely=OF_A_SLOT,
        anywhere=True,
        # decimal, or a MEID of 14 hexadecimal digits; any of them broken by signs
        start=r"[0-9A-Fa-f][ ./-]?[0-9A-Fa-f][ ./-]?[0-9A-Fa-f]",
        shape=r"[0-9](?:[ ./-]?[0-9]){13,31}[Ff]?\b|[0-9A-Fa-f]{14,20}\b|[0-9A-Fa-f]{2}(?:[ -]?[0-9A-Fa-f]{6}){2}\b",
        examples=(
            "subscriberId imsi: 262019876543210",
            "ICCID 8931086112345678903 inserted",
            "IMSI of slot 1: 262019876543210",
            "matchSubscriberIds=[262019876543210]",
            "GET /devices/imei/490154203237519/state, IMEI35-209900-176148-1",
            '"meid":"A0000009296F12"',
        ),
        counter_examples=(
            "imsi: null, iccid: -1",
            "imei 0 is not in use",
            "ImeiActivity.onCreate(ImeiActivity.java:14)",
        ),
    ),
    named_text(
        name="device_id",
        tag="DEVICE_ID",
        clause="1.1.2-dev",
        keys=r"(?i:imei|imsi|iccid|serial|identifierforvendor|pseudo[_ .-]?id|序列号|oaid|gaid|aaid|vaid|udid|idf[av]"
        r"|ssaid"
        r"|(?:android|device|space|instance|install(?:ation)?|advertising|gsf|hardware|anonymous|distinct|subscriber"
        r"|visitor|client|registration|device(?:[_ .-]?unique)?)[_ .-]?(?:uu|gu)?id(?:entifier)?)|"
        + whole_words(r"meid|hw[_.-]?id|ad[_.-]?id|waid|fid|did|cuid|reg[_.-]?id|device[_.-]?hash|sn|s/n"),
        bare=rf"[0-9]{{2,8}}(?:[ /.-][0-9]{{1,8}}){{2,6}}|{WORD}",
        # words, numbers of objects, and numbers that are as short as an index or a counter; of ten capitals, those that
        # say what is not
        refuse=rf"{PRINTED}|[A-Z]*[a-z_.$-][A-Za-z_.$ -]*|[A-Z]+ [A-Za-z_.$ -]+|[A-Z]{{1,9}}|(?:UN|NOT|DIS)[A-Z]+"
        r"|[A-Z]+(?:ED|ING|ION|BLE)|0x[0-9A-Fa-f]{1,8}|.{1,5}|-?[0-9]{1,7}",
        examples=(
            "android_id=9774d56d682e549c state=bound",
            "[ro.serialno]: [a1b2c3d4]",
            "serial: FAMLIUYSJUJC",
            r"body={\"device_id\":\"d3b07384d113edec49eaa6238ad5ff00\"}",
            '<string name="ssaid">9774d56d682e549c</string>',
        ),
        counter_examples=(
            "stream classdesc serialVersionUID = 42, local class serialVersionUID = 43",
            "deviceId: 3, instanceId=0, serial = 1873, clientId: null",
            "ro.serialno: unknown",
        ),
    ),
    named_shape(
        name="uuid_pair",
        tag="UUID",
        clause="1.1.2-app",
        keys=whole_words("uuid|guid|cid|udid"),
        start=r"[0-9A-Fa-f]{9}",
        shape=r"[0-9A-Fa-f]{32}\b",
        examples=("guid: 123e4567e89b12d3a456426614174000",),
        counter_examples=("uuid: 0000110b-0000-1000-8000-00805f9b34fb", "uuid=null"),
    ),
    named_shape(
        name="mac_pair",
        tag="MAC",
        clause="1.1.2-dev",
        keys=whole_words(
            r"bssid|mac(?:[_ .-]?(?:addr(?:ess)?|wi-?fi|wlan|eth|bt))?|hw[_ .-]?addr(?:ess)?|b[td][_ .-]?addr(?:ess)?"
            r"|bluetooth[_ .-]?addr(?:ess)?|bda"
        ),
        loosely=rf"{LOOSELY}|{JOINED}",
        start=r"[0-9A-Fa-f*Xx]{2}[ :._-]?[0-9A-Fa-f*Xx]",
        shape=r"[0-9A-Fa-f]{12}(?:[0-9A-Fa-f]{4})?\b|(?:[0-9A-Fa-f*Xx]{2}[ :._-]){5}[0-9A-Fa-f*Xx]{2}"
        r"|[0-9A-Fa-f]{32,64}\b",
        examples=(
            "wlan0 mac=02005e105f00 up",
            "bd_addr: 00 00 5e 00 53 af",
            "page timeout of remote_bd_addr 00005E0053AF",
            "mac_md5=0cc175b9c0f1b6a831c399e269772661",
        ),
        counter_examples=("machine=arm64 macro:7", "mac=null, BSSID: any", "macAddress: <redacted>"),
    ),
    named_text(
        name="ssid",
        tag="SSID",
        clause="1.1.2-loc",
        keys=whole_words("ssid"),
        bare=NAME,
        end=NAME_END,
        refuse=r"unknown ssid>?|[0-9]{1,2}|\w+\(.*|any",
        examples=('SSID: "Jansen thuis", rssi: -61', "ssid=FRITZ!Box 7590", "SSID: Familie Jansen, BSSID: any"),
        counter_examples=(
            "reading the SSID is not permitted",
            "SSID: <unknown ssid>, RSSI: -127",
            "ssid=null rssi=-50",
        ),
    ),
    Recogniser(
        name="network_name",
        tag="SSID",
        clause="1.1.2-loc",
        # what the system's services print of a network: NetworkInfo, keys of configurations, and the supplicant
        pattern=rf"((?:\bextra(?:Info)?[:=] ?|\b(?i:ssid) )\")[^\"\n{MARKS}][^\"\n]*"
        rf"|(\b(?i:ssid) ')[^'\n{MARKS}][^'\n]*"
        rf"|(\bnetwork \")[^\"\n{MARKS}][^\"\n]*"
        rf"|(\bSSID )[A-Za-z][\w-]*[0-9][\w-]*"
        rf"|(\")[^\"\n{MARKS}][^\"\n]*(\"-?(?:WPA|WEP|SAE|OWE|NONE\b))"
        rf"|(\bpri_dev_type=[\w-]+ name=')[^'\n{MARKS}][^'\n]*"
        rf"|(\b[Cc]onnected to )[^\s\"'<{MARKS}]+( (?:freq|bssid|rssi|channel)\b)",
        replacement=r"\1\2\3\4\5\7\8<SSID>\6\9",
        examples=(
            'state: CONNECTED, extra: "Jansen thuis", roaming: false',
            'will link "Jansen thuis"WPA_PSK',
            "pri_dev_type=10-0050F204-5 name='Jansen TV'",
        ),
        counter_examples=('state: CONNECTED, extra: "", roaming: false', 'capabilities: "[WPA2-PSK-CCMP][ESS]"'),
        hint=r"\bextra(?:Info)?[:=] ?\"|\bpri_dev_type=|\b(?i:ssid) ['\"]|\bnetwork \"|\bSSID [A-Za-z]|\"-?(?:WPA|WEP"
        r"|SAE|OWE|NONE\b)|onnected to [^\s]+ (?:freq|bssid|rssi|channel)\b",
    ),
    named_text(
        name="bluetooth_name",
        tag="NAME",
        clause="1.1.2-dev",
        keys=r"(?i:(?:bluetooth|device|adapter|remote|local|friendly|peer)[_ .-]?(?:name|alias)|host[_ .-]?name"
        r"|wifi名称)|" + whole_words("b[td][_ .-]?name|b[td][_ .-]?alias|ble[_ .-]?name"),
        bare=NAME,
        end=NAME_END,
        # programs, files, and machines that a network has names for
        refuse=rf"{PRINTED}.*|/.*|[a-z]\w*(?:\.\w+)+|(?:\w+:)+|[\w-]+(?:\.[\w-]+)+|localhost|android",
        examples=("btif_dm: remote name: Jan's Buds, cod: 0x240404", 'BluetoothDevice name="Jansen oortjes"'),
        counter_examples=(
            "remote name: null",
            "remote name: (null)",
            "getRemoteName: device=null bond=12",
            "deviceName=/dev/input/event3",
            "DeviceNameFragment.kt:31",
        ),
    ),
)

_PLACES = (
    named_shape(
        name="location_pair",
        tag="LOCATION",
        clause="1.1.2-loc",
        keys=r"(?i:latitude|longitude|широта|долгота|纬度|经度|緯度|経度|lat[_ /]?ln?g|coordinates?|geo[_ ]?point)|"
        + whole_words("lat|lon|lng|long|geo|location|loc|position|lat[_.-]?deg|lon[_.-]?deg|lng[_.-]?deg"),
        loosely="[ \t]",
        start=_DECIMAL,
        refuse=r"[\w/]+[ \t][-+]?[0-9]{1,3}\.[0-9]{1,3}",
        shape=rf"{_DECIMAL}(?: ?[,;/ ] ?{_DECIMAL})*\b",
        examples=("fix at lat=52.379", "lat/lng: (52.379189,4.899431)", "geo:52.37,4.89", '"coordinates":[4.8,52.3]'),
        counter_examples=("latency=12 platform=sm8550", "location=gps lat: null", "Location: https://example.com/"),
    ),
    named_shape(
        name="scaled_location",
        tag="LOCATION",
        clause="1.1.2-loc",
        # degrees times ten to the power that the key ends in
        keys=r"(?i:(?:lat(?:itude)?|lng|lon(?:gitude)?)[_.-]?e[5-8])",
        start=r"-?[0-9]{5}",
        shape=r"-?[0-9]{5,11}\b",
        examples=("latitudeE7: 523791890", "lng_e6=4899431"),
        counter_examples=("latE7=0", "latitudeE7: null"),
    ),
    named_shape(
        name="cell",
        tag="CELL",
        clause="1.1.2-loc",
        keys=r"m(?:Ci|Cid|Lac|Tac|Nci|Pci|Psc|Cpid|BasestationId|NetworkId|SystemId)|"
        + whole_words("cell[_ .-]?id(?:entity)?|cid|lac|tac|eci|nci|psc"),
        start=r"-?[0-9]",
        shape=r"-?(?:0x[0-9A-Fa-f]{2,16}|[0-9]{3,16})\b",
        examples=("CellIdentityLte:{ mCi=27447297 mPci=330 mTac=12345 mMcc=204 }", "lac: 3011, cid=21812"),
        counter_examples=("mEarfcn=1300 mMnc=04 mBandwidth=2147483647", "lcid: 64, cid=0"),
    ),
)

_ACCOUNTS = (
    named_shape(
        name="card_pair",
        tag="CARD",
        clause="1.1.1",
        keys=r"(?i:(?:credit|debit|bank|payment|visa|master)[_ .-]?card|card[_ .-]?(?:num(?:ber)?|no|nr|pan)"
        r"|kreditkarte|kartennummer|kaartnummer|kortnummer|carte[_ .-]?(?:bancaire|bleue)"
        r"|num[eé]ro[_ .-]?(?:de[_ .-]?)?carte"
        r"|tarjeta|numero[_ .-]?(?:de[_ .-]?|di[_ .-]?)?carta|cart[aã]o[_ .-]?de[_ .-]?cr[eé]dito|numer[_ .-]?karty"
        r"|номер[_ .-]?карты|银行卡号?|信用卡号?)|" + whole_words("cc[_ .-]?num(?:ber)?|ccn"),
        anywhere=True,
        loosely=OF_SOMEBODY,
        start=r"[2-68](?:[ .-]?[0-9]){5}",
        # mistyped as well
        shape=r"[2-68](?:[ .-]?[0-9]){11,18}\b",
        examples=("card_number=4111111111111112", "creditCard: 4111-1111-1111-1112"),
        counter_examples=("card number 12 of 16", "CardNumberView.kt:31"),
    ),
    named_shape(
        name="account_number",
        tag="USER",
        clause="1.1.1",
        # what Java writes of a class ends like one
        keys="serialVersionUID"
        "|"
        + whole_words(
            "uid|mid|mi[_.-]?id|open[_.-]?id|union[_.-]?id|channel[_.-]?id|steam[_.-]?id|player[_.-]?id|account"
        ),
        loosely=LOOSELY,
        refuse=r"serialVersionUID.*|.*[^\w-][A-Za-z_-]+|.*(?:@|%40)",
        start=r"[0-9]{8}|[\w-]{24}",
        # an address that begins like one is found whole as such
        shape=r"[0-9]{8,}(?:@|%40|\b)|[0-9A-Fa-f]{24,64}\b|o[\w-]{26,28}\b|[0-9A-Za-z]{28}\b",
        examples=('"uid": "2088123456"', "openid=oUpF8uMuAJO1M2pxb1Q9zNjWeS6o"),
        counter_examples=(
            "uid=10123 gid=1010113 mid=0",
            "uid: 10217_tagged_address_control",
            "serialVersionUID = 4125096758372084309",
        ),
    ),
)

KEYED: tuple[Recogniser, ...] = _DEVICES + _PLACES + _ACCOUNTS
