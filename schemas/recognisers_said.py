"""Recognisers of what is said in sentences: words before a value that are no key, with words between them."""

from schemas.recogniser import (
    BEYOND_ASCII,
    FULL_NAME,
    JOINED,
    LOOSELY,
    MARKS,
    PERSON,
    Recogniser,
    named_shape,
    whole_words,
)

_WORD = rf"[^\s\"',;:=()\[\]{{}}<>{MARKS}]+"
# The last word of a candidate has a letter and two digits at least.
_MIXED = r".*[^0-9A-Za-z-](?:[A-Za-z]+[0-9]|[0-9]+[A-Za-z])[\w-]*"
_ONE_DIGIT = r".*[^0-9A-Za-z-][A-Za-z_-]+[0-9][A-Za-z_-]*"
_CODES = (
    r"(?i:(?:verif\w{0,8}|confirm\w{0,7}|activation|security|access|log-?in|sms|auth\w{0,10}|one[_ -]?time|otp|your"
    r"|entered"
    r"|enter|2fa|mfa)[_ -]?(?:pass)?code|passcode|ओटीपी|验证码|校验码|动态码|驗證碼|認証コード|인증번호"
    r"|(?:验证码|校验码)是|код(?: подтверждения| доступа| из смс| активации)|best[äa]tigungscode|verificatiecode"
    r"|inlogcode"
    r"|code de v[ée]rification|c[óo]digo(?: de \w{1,12})?|kod(?: weryfikacyjny)?|kodekode)"
)
SAID: tuple[Recogniser, ...] = (
    named_shape(
        name="device_listed",
        tag="DEVICE_ID",
        clause="1.1.2-dev",
        # words or short numbers between the key and its number: a list of columns, an answer of a modem
        keys=r"(?:\b|_)(?i:imei|imsi|iccid|meid|device_identity)\b[^0-9\n]",
        loosely=r"(?:[^0-9\n]|\b[0-9]{1,10}\b){0,80}[^0-9A-Za-z_.]",
        start=r"[0-9]{14}",
        shape=r"[0-9]{14,16}\b|[0-9]{19,20}\b",
        # times and counters
        refuse=r".*(?:(?i:time|stamp|nanos|elapsed|duration|millis|micros)\w*|\b(?:ns|us|ms|at|seq))\W{1,3}[0-9]+",
        examples=(
            "INSERT INTO sims (slot, imsi) VALUES (1, '262019876543210')",
            "IMSI of 262 07 read in full 262019876543210",
        ),
        counter_examples=("imsi is read, uptimeNanos=12345678901234", "imei: null, 12 of 13"),
    ),
    named_shape(
        name="serial_said",
        tag="DEVICE_ID",
        clause="1.1.2-dev",
        keys=r"(?i:serial(?:[ _.-]?(?:number|no|nr))?\.?|installation[ _-]?id|udid)|\b[sS]/[nN]|\b(?:sn|SN)",
        loosely=rf"{LOOSELY}|{JOINED}?",
        start=r"[A-Za-z_-]*[0-9]",
        shape=r"[0-9A-Za-z]{7,20}\b|[\w-]{22}\b",
        accept=_MIXED,
        refuse=_ONE_DIGIT,
        examples=("serial no. HT7A31A01234 is blocked", "S/N C02XG0FDJGH7", "sn_7C9J2K004512"),
        counter_examples=("serial port ttyUSB0", "serial console", "serialVersionUID", "sn 12"),
    ),
    Recogniser(
        name="attached_device",
        tag="DEVICE_ID",
        clause="1.1.2-dev",
        # what adb says of a device, and the number of one of Apple's
        pattern=rf"^([ \t]*)[0-9A-Za-z]{{6,20}}([ \t]+(?:device|offline|unauthorized|recovery|sideload)\b)"
        rf"|(\bdevice '|\badb -s )[^\s'{MARKS}]{{6,}}|\b0000[0-9]{{4}}-[0-9A-Fa-f]{{16}}\b",
        replacement=r"\1\3<DEVICE_ID>\2",
        # no word, and no machine that is not one
        accept=r"[ \t]*[A-Za-z]*[0-9][0-9A-Za-z]*[ \t].*|(?:device '|adb -s ).*[0-9].*[0-9].*|0000[0-9-].*",
        refuse=r".*emulator-[0-9]+",
        examples=("R5CT30B1XYZ\tdevice product:raven", "adb -s R5CT30B1XYZ shell", "lost 00008030-001C2D8E3A45002E"),
        counter_examples=("unknown device 'usb'", "adb -s emulator shell", "  storage device attached"),
        hint=r"^[ \t]*[0-9A-Za-z]{6,20}[ \t]+(?:device|offline|unauthorized|recovery|sideload)\b|\bdevice '|\badb -s "
        r"|\b0000[0-9]{4}-[0-9A-Fa-f]{16}\b",
    ),
    named_shape(
        name="one_time_code",
        tag="SECRET",
        clause="1.1.1",
        keys=_CODES,
        loosely=rf"{LOOSELY}|{JOINED}?",
        start=r"[0-9]{3}",
        shape=r"[0-9]{4,8}\b|[0-9]{3}[ -][0-9]{3}\b",
        examples=("verification code 771204 sent", "your code is 220914", "验证码 309415", "inlogcode 4821"),
        counter_examples=("code=404", "verification code expired", "error code 1234567", "passcode required"),
    ),
    Recogniser(
        name="code_said",
        tag="SECRET",
        clause="1.1.1",
        pattern=r"\b[0-9]{4,8}( (?i:(?:is|это) (?:your|my|ваш))(?: [\w-]+){0,3} (?i:code|otp|pin|passcode|password"
        r"|код)\b"
        r"| is (?:the|an?) (?i:otp|one-time|verification|passcode)\b)"
        r"|\b[0-9]{4,8}([」】）]?(?:（| )?(?:是|为)?(?:您的|你的)?(?:短信)?验证码)",
        replacement=r"<SECRET>\1\2",
        examples=("558210 is your Example verification code", "482913 is the OTP"),
        counter_examples=("1234 is the code of an error", "404 is the status code"),
        hint=r"[0-9]{4} (?i:(?:is|это) (?:your|my|ваш|the|an?) )|验证码",
    ),
    named_shape(
        name="password_said",
        tag="PASSWORD",
        clause="1.1.1",
        keys=r"(?i:passw(?:or)?d|passphrase|wachtwoord|kennwort|passwort|contraseña|пароль|密码|senha|hasło|şifre|parola"
        r"|كلمة المرور|kSecValueData)|\bAUTH|\b(?i:psk|secret)",
        loosely=r"[ \t]+(?:(?i:is|was|to|for|set to)[ \t]+|\w+: )?",
        start=r"[\w!@#$%^&*/+-]{6}",
        shape=r"[\w!@#$%^&*/+.-]{6,}",
        accept=r".*[ \t\"'=:>(](?:[\w!@#$%^&*/+.-]*[A-Za-z][\w!@#$%^&*/+.-]*[0-9!@#$%^&*+][\w!@#$%^&*/+.-]*"
        r"|[\w!@#$%^&*/+.-]*[0-9!@#$%^&*+][\w!@#$%^&*/+.-]*[A-Za-z][\w!@#$%^&*/+.-]*)",
        refuse=r".*(?i:(?:sha|md|http/|base|utf|aes|hmac|oauth|bcrypt|scrypt|argon|pbkdf)[-_]?[0-9].*|v[0-9.]+)",
        examples=("has set the password Fiets123", 'auth user x secret "Qwe-123-rty"'),
        counter_examples=("password sha256 mismatch", "password required", "AUTH failed", "secret sharing"),
    ),
    named_shape(
        name="birth_date",
        tag="BIRTH_DATE",
        clause="1.1.1",
        keys=r"(?i:birth[_ .-]?(?:date|day)|date[_ .-]?of[_ .-]?birth|geburts(?:datum|tag)|geboortedatum"
        r"|fecha[_ .-]?de[_ .-]?nacimiento"
        r"|date[_ .-]?de[_ .-]?naissance|data[_ .-]?di[_ .-]?nascita|data[_ .-]?urodzenia|födelsedatum|дата рождения"
        r"|出生日期|出生年月|生年月日|생년월일|जन्म ?तिथि)|" + whole_words("dob|bday"),
        loosely=LOOSELY,
        start=r"[0-9]",
        shape=r"[0-9]{1,4}[./-][0-9]{1,2}[./-][0-9]{1,4}(?:T[0-9:.]+Z?)?\b|(?:19|20)[0-9]{6}\b"
        r"|[0-9]{4}年[0-9]{1,2}月(?:[0-9]{1,2}日)?",
        examples=("birthDate=1984-07-12", "geboortedatum 03-11-1990", "出生日期：1990年3月11日"),
        counter_examples=("birthday: null", "dob missing", "birth_date=0"),
    ),
    Recogniser(
        name="titled_name",
        tag="USER",
        clause="1.1.1",
        pattern=r"(\b(?:(?:Dear |Beste |Geachte |Lieber? |Estimad[oa] |Уважаем(?:ый|ая) )?(?:(?:Mr|Mrs|Ms) "
        r"|(?:Mr|Mrs|Ms|Dr|Dhr|Mevr|Mw|Sra?|Hr)\. |Herrn? |Frau |[Mm]evrouw |[Mm]eneer |Madame |Monsieur |Señora? )"
        rf"|Dear |Beste |Geachte |Lieber? |Estimad[oa] |Уважаем(?:ый|ая) )){PERSON}"
        # a greeting; a courtesy of Chinese; what an airline writes on a ticket
        rf"|(\b(?:Hello|Hi|Hey|Hallo|Hoi|Bonjour|Ciao|Hola|Olá|Welcome(?: back)?,?|Willkommen|Welkom) ){PERSON}([,!])"
        rf"|((?:尊敬的|亲爱的))[一-鿿]{{1,4}}?((?:女士|先生|小姐))|\b[A-Z]{{2,}}/[A-Z]{{2,}}( (?:MRS?|MS|MISS|MSTR)\b)",
        replacement=r"\1\2\4<USER>\3\5\6",
        refuse=r".* (?i:sir|madam|customer|user|all|team|developer|klant|kunde|cliente|heer|mevrouw|colleagues?"
        r"|valued|world|again|there|everyone|everybody|android|kotlin|java|compose|flutter|back)\b.*",
        examples=(
            "Dear Mr. Jansen, thank you",
            "afspraak met mevrouw De Groot",
            "Hi Ada,",
            "尊敬的李娜女士",
            "LOVELACE/ADA MRS",
        ),
        counter_examples=(
            "Dear Customer, thank you",
            "Dr. and Mr. are titles",
            "Hello World!",
            "A/B MRI",
            "尊敬的客户",
        ),
        hint=r"\b(?:(?:M[rsw]s?|Dr|Dhr|Mevr|Sra?|Hr)\.? |Herrn? |Frau |[Mm]evrouw |[Mm]eneer |Madame |Monsieur "
        r"|Señora? |Dear "
        r"|Beste |Geachte |Lieber? |Estimad[oa] |Уважаем)[A-Z\x{80}-\x{10FFFF}]"
        r"|\b(?:Hello|Hi|Hey|Hallo|Hoi|Bonjour|Ciao|Hola|Olá|Welcome(?: back)?,?|Willkommen|Welkom) "
        r"[A-Z\x{80}-\x{10FFFF}]"
        r"|(?:尊敬|亲爱)的[^\n]{1,12}(?:女士|先生|小姐)|[A-Z]{2}/[A-Z]{2,} M[RIS]",
    ),
    Recogniser(
        name="owned_device",
        tag="NAME",
        clause="1.1.2-dev",
        # devices as they come are named after their owner; machines at home end in .local
        pattern=rf"\b[A-Z][a-z]+s (?:iPhone|iPad|MacBook|AirPods)\b"
        rf"|[A-Za-z{BEYOND_ASCII}][\w{BEYOND_ASCII}]*(?:['’]s?[ -]|s-)(?:iPhone|iPad|iPod|iMac|MacBook|AirPods|Galaxy"
        rf"|Pixel|Redmi"
        rf"|Phone|Watch|Buds|Laptop|PC)\b|\b(?:iPhone|iPad|iMac|MacBook|AirPods|Galaxy|Pixel)(?:[ -](?:Pro|Air|Mini"
        rf"|\w?[0-9]+))*"
        rf"[ -](?:van|von|de|di|of|da)[ -][\w{BEYOND_ASCII}]+|\b[A-Za-z0-9]+(?:-[A-Za-z0-9]+)+(\.(?:local|lan"
        rf"|fritz\.box)\b)",
        replacement=r"<NAME>\1",
        refuse=r"(?:Users|Apps|Contacts|Settings|Devices|Photos|Supports|Requires|Runs|Its|This|Various) .*",
        examples=("paired with Jan's iPhone", "MacBook-Pro-van-Jan", "resolved nas-jansen.local"),
        counter_examples=("the iPhone simulator", "config.local.json", "its phone"),
        hint=r"(?:['’]s?[ -]|s-|[a-z]s )(?:iPhone|iPad|iPod|iMac|MacBook|AirPods|Galaxy|Pixel|Redmi|Phone|Watch|Buds"
        r"|Laptop|PC)\b"
        r"|\b(?:iPhone|iPad|iMac|MacBook|AirPods|Galaxy|Pixel)[ -](?:[^\n]*[ -])?(?:van|von|de|di|of|da)[ -]"
        r"|-\w+\.(?:local|lan|fritz\.box)\b",
    ),
    Recogniser(
        name="person_of_role",
        tag="USER",
        clause="1.1.1",
        # a name behind what somebody is to the program
        pattern=rf"(\b(?:patient|customer|klant|[Kk]unde|(?:card ?)?holder|payee|caller|passenger|employee"
        rf"|recipient|call with|message from|chat with|messages? to|tap on|контакт|клиент|مستخدم) ['\"]?){FULL_NAME}"
        rf"|((?:контакт|клиент|收件人|联系人|客户|乘客|nickname)[ ：:]{{1,2}}){PERSON}"
        rf"|((?:用户|[Пп]ользовател[ьяю]|[Gg]ebruiker|[Bb]enutzer|[Uu]suario"
        rf"|[Uu]tilisateur) ?['\"]?)[A-Za-z][\w-]*[._0-9][\w.-]*",
        replacement=r"\1\2\3<USER>",
        examples=(
            "patient Ada Lovelace is waiting",
            "cardholder Ada Lovelace",
            "收件人 刘洋",
            "пользователь ivanov_p вошёл",
        ),
        counter_examples=("patient is waiting", "联系人为空", "用户登录失败", "customer 12"),
        hint=rf"\b(?:patient|customer|klant|[Kk]unde|(?:card ?)?holder|payee|caller|passenger|employee|recipient"
        rf"|call with|message from|chat with|messages? to|tap on) ['\"]?[A-Z{BEYOND_ASCII}]"
        rf"|nickname[ ：:]|контакт|клиент|مستخدم|收件人|联系人|客户|乘客"
        rf"|(?:用户|[Пп]ользовател[ьяю]|[Gg]ebruiker|[Bb]enutzer|[Uu]suario"
        rf"|[Uu]tilisateur) ?['\"]?[A-Za-z]",
    ),
)
