"""Recognisers of identifiers by the key before them: of devices, networks, places and people."""

from schemas.recogniser import (
    BEYOND_ASCII,
    ENTITY,
    LOOSELY,
    MARKS,
    OF_A_SLOT,
    OF_SOMEBODY,
    PRINTED,
    SENTENCE,
    WORD,
    Recogniser,
    named_shape,
    named_text,
    whole_words,
)

# A name may hold blanks: it ends before a sign, or before the next key.
_NAME = rf"(?:[^\s\"',;=:\[\](){{}}<>&{MARKS}]|{ENTITY}|&)(?:[^,;&\]}}\n]|{ENTITY}|&[^#])*?"
_NAME_END = r"\s[\w.-]+[=:]|[,;\]}]|&(?:amp;)?[\w.-]+=|</|$"
_DECIMAL = r"[-+]?[0-9]{1,3}\.[0-9]+"
_CAPITAL = rf"[A-Z{BEYOND_ASCII}][\w{BEYOND_ASCII}'.-]*"

_DEVICES = (
    named_shape(
        name="device_number",
        tag="DEVICE_ID",
        clause="1.1.2-dev",
        keys=r"(?i:imei(?:[_ /-]?sv)?|imsi|icc[_ .-]?id|meid|subscriber[_ .-]?ids?)|"
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
        keys=r"(?i:imei|imsi|iccid|serial|oaid|gaid|aaid|vaid|udid|idf[av]|ssaid"
        r"|(?:android|device|space|instance|install(?:ation)?|advertising|gsf|hardware|anonymous|distinct|subscriber"
        r"|visitor|client|registration|device[_ .-]?unique)[_ .-]?(?:uu|gu)?id)|"
        + whole_words(r"meid|hw[_.-]?id|ad[_.-]?id|waid|fid|did|cuid|reg[_.-]?id|device[_.-]?hash"),
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
        keys=whole_words("uuid|guid"),
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
            r"|bluetooth[_ .-]?addr(?:ess)?"
        ),
        loosely=LOOSELY,
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
        bare=_NAME,
        end=_NAME_END,
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
        rf"|(\")[^\"\n{MARKS}][^\"\n]*(\"-?(?:WPA|WEP|SAE|OWE|NONE\b))"
        rf"|(\bpri_dev_type=[\w-]+ name=')[^'\n{MARKS}][^'\n]*",
        replacement=r"\1\2\3\5<SSID>\4",
        examples=(
            'state: CONNECTED, extra: "Jansen thuis", roaming: false',
            'will link "Jansen thuis"WPA_PSK',
            "pri_dev_type=10-0050F204-5 name='Jansen TV'",
        ),
        counter_examples=('state: CONNECTED, extra: "", roaming: false', 'capabilities: "[WPA2-PSK-CCMP][ESS]"'),
        hint=r"\bextra(?:Info)?[:=] ?\"|\bpri_dev_type=|\b(?i:ssid) ['\"]|\"-?(?:WPA|WEP|SAE|OWE|NONE\b)",
    ),
    named_text(
        name="bluetooth_name",
        tag="NAME",
        clause="1.1.2-dev",
        keys=r"(?i:(?:bluetooth|device|adapter|remote|local|friendly|peer)[_ .-]?(?:name|alias))|"
        + whole_words("b[td][_ .-]?name|b[td][_ .-]?alias|ble[_ .-]?name"),
        bare=_NAME,
        end=_NAME_END,
        refuse=rf"{PRINTED}.*|/.*|[a-z]\w*(?:\.\w+)+|(?:\w+:)+",
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
        keys=r"(?i:latitude|longitude|lat[_ /]?ln?g|coordinates?|geo[_ ]?point)|"
        + whole_words("lat|lon|lng|geo|location|loc|position"),
        start=_DECIMAL,
        shape=rf"{_DECIMAL}(?: ?[,;/ ] ?{_DECIMAL})*\b",
        examples=("fix at lat=52.379", "lat/lng: (52.379189,4.899431)", "geo:52.37,4.89", '"coordinates":[4.8,52.3]'),
        counter_examples=("latency=12 platform=sm8550", "location=gps lat: null", "Location: https://example.com/"),
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

_PEOPLE = (
    named_shape(
        name="phone_pair",
        tag="PHONE",
        clause="1.1.1",
        keys=r"(?i:(?:phone|tel|mobile)[_ .-]?(?:home|work|main|private|primary|e164)|phone(?:_lookup)?|msisdn"
        r"|voice[_ .-]?mail|whatsapp|\bwa\.me|telefon|téléphone|телефон|номер|手机|电话|line1|dial(?:l?ed|l?ing)?)|"
        + r"\b(?i:tel|sms|smsto|mmsto|callto|whatsapp|viber)://[a-z]{0,12}|"
        + r"\b(?i:call(?:s|ed|ing)?|ring(?:s|ing)?|sms(?:_deliver|_received)?|mms|otp sent)(?i:[ \t](?:to|from))"
        + r"|\b(?i:calling)|"
        + whole_words(
            "tel|mobile|mob|handy|cell|sms|smsto|mmsto|callto|fax|caller|callee"
            r"|originating[_ .-]?address|dest(?:ination)?[_ .-]?address"
        ),
        loosely=rf"{LOOSELY}|/",
        start=r"(?:%2B|[+(])?[0-9](?:[ ()./-]{0,2}[0-9]){5}",
        shape=r"(?:%2B|[+(])?[0-9](?:[ ()./-]{0,2}[0-9]){5,}",
        examples=(
            "dialling, phone: 06 1234 5678",
            "tel 020/7940800 busy",
            "calling 0486/56.22.92",
            "phoneHome=0201234567",
            "smsto:5550123456",
            "content://com.android.contacts/phone_lookup/0201234567",
            "SMS_DELIVER from 0201234567",
            "https://wa.me/31612345678",
            '{"msisdn":"31612345678"}',
        ),
        counter_examples=(
            "mobile: CONNECTED",
            "call to method 1234567",
            "phone 0 is in service, phoneId=1",
            "tel: null",
        ),
    ),
    named_shape(
        name="phone_said",
        tag="PHONE",
        clause="1.1.1",
        # words that are said of other numbers, too: those have no groups that a plan of numbers knows
        keys=r"\b(?i:number|remote|contact)",
        loosely=r"[ \t](?i:(?:for|with|is)[ \t])?",
        start=r"[0-9]+[ ./-][0-9]",
        shape=r"[0-9]{2,5}(?:[ ./-][0-9]{2,8}){1,4}\b",
        refuse=r".*[^0-9](?:[0-3]?[0-9][./-]){2}(?:19|20)[0-9]{2}|.*[^0-9](?:19|20)[0-9]{2}(?:[./-][0-3]?[0-9]){2}"
        r"|.*[^0-9](?:[0-9]{1,3}\.){3}[0-9]{1,3}",
        validator="national_phone",
        examples=("CallLog: insert number=34-42-57-75", "no contact for 691-0738"),
        counter_examples=("number: 12.5.8", "number=2026-10-17", "remote 1/4096"),
    ),
    named_shape(
        name="email_pair",
        tag="EMAIL",
        clause="1.1.1",
        keys=r"(?i:e-?mail(?:[_ .-]?addr(?:ess)?)?|account)|" + whole_words("from|to|sender|recipient|user"),
        start=rf"[^\s,;&|\"'(){{}}\[\]<>@{MARKS}]+(?:@|%40)",
        shape=rf"[^\s,;&|\"'(){{}}\[\]<>@{MARKS}]+(?:@|%40)[^\s,;&|\"'(){{}}\[\]<>@:/\\{MARKS}]+",
        examples=("email=bob@intranet", "to=<carol@mailhost>"),
        counter_examples=("EmailComposer.send(EmailComposer.kt:12)", "email: missing"),
        # an object by its number, and a version of an interface
        refuse=r".*@(?:[0-9a-f]{1,8}|[0-9].*)",
    ),
    named_text(
        name="user",
        tag="USER",
        clause="1.1.1",
        keys=r"(?i:(?:nick|full|first|middle|last|display|screen|real|sur|given|family|contact|customer)[_ .-]?name"
        r"|(?:account ?[:=] ?)?account ?\{ ?name|\b(?:user|contact|person|profile|customer|member|patient)"
        r"(?:dto|entity|model|data|info)?[({](?:id=[\w-]*, )?name|用户名|姓名|фамилия)|"
        + whole_words("user|account|login"),
        bare=rf"{_CAPITAL}(?: {_CAPITAL}){{1,3}}|{WORD}",
        # numbers of profiles and applications, accounts of the system, and what a program says of its own objects
        refuse=rf"{PRINTED}|{SENTENCE}|u?[0-9]{{1,3}}(?:[ais][0-9]+)*|-[0-9]+"
        r"|(?i:root|system|shell|nobody|radio|wifi|bluetooth|media|nfc|user|guest|owner|admin|all|any|current|other)",
        examples=(
            "userName: Ada Lovelace signed in",
            "Account {name=bob, type=com.example}",
            "User(id=5, name=Ada Lovelace, age=31)",
        ),
        counter_examples=(
            "UserManager.getUsers(UserManager.java:402)",
            "user=0 userId: u0a113 account=null",
            "user: USER_ALL",
        ),
    ),
    Recogniser(
        name="user_info",
        tag="USER",
        clause="1.1.1",
        # what Android prints of a profile: its number, its name, its flags
        pattern=rf"(\bUserInfo\{{[0-9]+:)[^{{}}{MARKS}][^{{}}]*(:[0-9a-fA-F]+\}})",
        replacement=r"\1<USER>\2",
        examples=("UserInfo{0:Ada Lovelace:c13} running",),
        counter_examples=("UserInfo{0:Owner:c13} running", "UserInfo{10:null:30}"),
        hint=r"\bUserInfo\{[0-9]",
        refuse=r"UserInfo\{[0-9]+:(?i:null|owner|guest|work profile|system)?:.*",
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
        keys="serialVersionUID|" + whole_words("uid|mid|mi[_.-]?id|open[_.-]?id|union[_.-]?id"),
        refuse=r"serialVersionUID.*|.*[^\w-][A-Za-z_-]+",
        start=r"[0-9]{8}|[\w-]{24}",
        shape=r"[0-9]{8,}\b|[0-9A-Fa-f]{24,64}\b|o[\w-]{27}\b|[0-9A-Za-z]{28}\b",
        examples=('"uid": "2088123456"', "openid=oUpF8uMuAJO1M2pxb1Q9zNjWeS6o"),
        counter_examples=(
            "uid=10123 gid=1010113 mid=0",
            "uid: 10217_tagged_address_control",
            "serialVersionUID = 4125096758372084309",
        ),
    ),
)

KEYED: tuple[Recogniser, ...] = _DEVICES + _PLACES + _PEOPLE + _ACCOUNTS
