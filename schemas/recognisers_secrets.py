"""Recognisers of what opens something: passwords, tokens, keys, credentials."""

from schemas.recogniser import (
    MARKS,
    NOTHING,
    PRINTED,
    SENTENCE,
    SEPARATOR,
    SEPARATOR_HINT,
    Recogniser,
    named_shape,
    named_text,
    whole_words,
)

_BASE64 = r"[A-Za-z0-9+/]"

_NAMED = (
    Recogniser(
        name="header",
        tag="SECRET",
        clause="1.1.2-log",
        # Of a header all to the end of the line; of one that is quoted, or in what prints a map of them, to the sign.
        pattern=rf"([\"'](?i:(?:proxy-)?authorization|(?:set-)?cookie2?): ?)[^\s\"'{MARKS}][^\"'\n]*"
        rf"|(\b(?i:(?:proxy-)?authorization){SEPARATOR}"
        rf"|\b(?i:(?:set-)?cookie2?){SEPARATOR}[\[\"']{{0,2}}[\w.%~$-]+=)"
        rf"(?:(\[)[^\]\n{MARKS}][^\]\n]*|(\")[^\"\n{MARKS}][^\"\n]*|(')[^'\n{MARKS}][^'\n]*|[^\s\"'=>\[{MARKS}][^\n]*)",
        replacement=r"\1\2\3\4\5<SECRET>",
        examples=(
            "curl -H 'Authorization: Basic dGVzdDp0ZXN0' https://example.com/",
            "Cookie: sid=31d4d96e407aad42; theme=dark",
            'Authorization: Digest username="bob", realm="x"',
            "{Authorization=[Bearer abc123], Accept=[*/*]}",
        ),
        counter_examples=(
            "Content-Type: text/html; charset=utf-8",
            "cookie=0x7f11 binder cookie: 3",
            "Authorization: Bearer null",
        ),
        hint=rf"\b(?i:(?:set-)?cookie2?|authorization){SEPARATOR_HINT}",
        refuse=rf".*(?:{SEPARATOR}) ?[\[\"'<]{{0,2}}(?:(?i:basic|bearer|digest|negotiate) )?{NOTHING}"
        r"(?:[\]\"',; }>].*)?",
    ),
    named_text(
        name="password",
        tag="PASSWORD",
        clause="1.1.1",
        keys=r"(?i:passw(?:or)?d|pass(?:phrase|code)|pwd|pre_?shared_?key|wep_?key|密码|пароль|passwort|wachtwoord"
        r"|kennwort|contraseña|mot de passe|hasło|heslo|jelszó|lösenord|salasana|senha|密碼|パスワード|비밀번호|पासवर्ड)"
        r"|" + whole_words("psk|pass|pw"),
        # any signs, up to the next field of a form or the end of an element
        bare=rf"[^\s\"'=:><(\[{{\\{MARKS}][^\s{MARKS}]*?",
        end=rf"&(?:amp;)?[\w.-]+=|</|[\s{MARKS}]|$",
        # behind a word that tells nothing, what belongs to the sentence; `pwd` is a folder, too; counts of tests
        refuse=rf"{NOTHING}[,;.)\]}}>].*|/.*|[0-9]{{1,3}}[,;]?",
        sentence=rf"(?:{SENTENCE}|[a-z]+(?:ing|ed))[,;.]?",
        examples=(
            "login failed, password=correct;horse",
            r"{\"pwd\":\"hunter2\"}",
            "<password>hunter2</password>",
            "password=a&b!c</p>",
        ),
        counter_examples=(
            "PasswordFragment.kt:31",
            "password: null, pwd=/data/local",
            "password: required",
            "password: required, email: invalid",
        ),
    ),
    named_text(
        name="secret",
        tag="SECRET",
        clause="1.1.1",
        keys=r"(?i:token|secret|sess(?:ion|_?id)|jwt|credentials?|csrf|xsrf|captcha"
        r"|(?:api|access|auth|private|client|signing|master|secret|account|encryption|session)[_ .-]?key"
        r"|matching[_ .-]?id"
        r"|(?:verif\w{0,8}|auth|sms|security|confirm\w{0,7}|activation|login|access)[_ .-]?code)"
        r"|" + whole_words("auth|otp|pin|sid|cvv|cvc|pnr"),
        # numbers of sessions and pins, what a program calls its own objects, and their classes
        refuse=rf"{PRINTED}|{SENTENCE}|[A-Z]+|(?:[A-Z][a-z]+)+|-?[0-9]{{1,3}}|state=[A-Z_]+",
        sentence=r"[a-z]+|[0-9]{1,5}",
        examples=(
            '{"refresh_token":"1/fFAGRNJru1FTz70BzhT3Zg"}',
            "aws_secret_access_key=wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY",
            "session=dGVzdA, state=open",
            "otp: 493201",
            "PHPSESSID=r2t5uvjq435r4q7ib3vtdjq120",
        ),
        counter_examples=(
            "TokenRefresher.refresh(TokenRefresher.java:88)",
            "wtoken = AppWindowToken{9f4ef63 token=Token{a64f992 ActivityRecord{de9231d u0}}}",
            "Bad activity token: android.os.BinderProxy@2bd79ce",
            "Unexpected token: identifier, session: started, auth:SIMPLE, token=null",
        ),
    ),
    named_shape(
        name="pin",
        tag="SECRET",
        clause="1.1.1",
        keys=r"\bCPIN|" + whole_words("pin|otp|puk[12]?|cvv2?|cvc2?|passcode"),
        start="[0-9]{3}",
        shape=r"[0-9]{3,8}\b",
        refuse=r".*(?i:pin).*[^0-9][0-9]{3}",  # of a chip
        examples=("pin code: 4821", '"cvc":"123"', 'AT+CPIN="1234"'),
        counter_examples=("gpio pin: 113", "pin: disabled", "otp=null"),
    ),
)

_SHAPES = (
    named_shape(
        name="granted_code",
        tag="SECRET",
        clause="1.1.1",
        # what an account was opened with is changed for a token: letters of both sizes and digits
        keys=r"\bcode",
        loosely=" ",
        start=r"[\w-]{20}",
        shape=r"[\w-]{20,}",
        accept=r".*[ :=\"'](?:[\w-]*[a-z][\w-]*[A-Z][\w-]*|[\w-]*[A-Z][\w-]*[a-z][\w-]*)",
        refuse=r".*[ :=\"'](?:[A-Za-z]+|[^0-9]*[0-9]?[^0-9]*)",
        examples=("login code 0a1Bcd000xYzEF1Gh2300IjKlm",),
        counter_examples=("code NullPointerExceptionInMain", "code 3f9c2d13f9c2d13f9c2d13f9c2d1"),
    ),
    Recogniser(
        name="private_key",
        tag="SECRET",
        clause="1.1.1",
        # A block on one line, or a line of a block: base64 from margin to margin, with capitals, small letters and
        # digits, which no path and no hash is.
        pattern=rf"(-----BEGIN [A-Z0-9 ]*PRIVATE KEY[A-Z ]*-----)[^-{MARKS}][^-]*|^(\s*){_BASE64}{{40,140}}={{0,2}}\s*$"
        rf"|^(\s*){_BASE64}{{6,76}}={{1,2}}\s*$",
        replacement=r"\1\2\3<SECRET>",
        examples=(
            r'{"pem": "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBg\n-----END PRIVATE KEY-----\n"',
            "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj",
        ),
        counter_examples=(
            "-----BEGIN CERTIFICATE-----",
            "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824",
        ),
        hint=rf"BEGIN [A-Z0-9 ]*PRIVATE KEY|(?m:^\s*{_BASE64}{{6}}(?:{_BASE64}{{34}}|{_BASE64}*=))",
        refuse=r"\s*(?:[0-9A-Fa-f]+|[a-z0-9+/=]+|[A-Z0-9+/=]+|[A-Za-z+/=]+)\s*",
    ),
    Recogniser(
        name="jwt",
        tag="SECRET",
        clause="1.1.1",
        pattern=r"eyJ[\w-]{8,}\.[\w-]{4,}(?:\.[\w-]*)*",
        replacement="<SECRET>",
        examples=("got eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjMifQ.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P",),
        counter_examples=("heyJude.play(Song.java:3)",),
        hint=r"eyJ[\w-]{8}",
    ),
    Recogniser(
        name="bearer",
        tag="SECRET",
        clause="1.1.1",
        # base64 has a digit, a sign or a capital inside; "basic authentication" has not
        pattern=r"\b((?i:bearer|basic|negotiate)[ \t]+)[A-Za-z]*(?:[0-9+/=_~]|[a-z][A-Z])[\w.~+/=-]*",
        replacement=r"\1<SECRET>",
        examples=("sent Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", "Bearer 2YotnFZFEjr1zCsicMWpAA"),
        counter_examples=(
            "the server asked for basic authentication",
            'BasicTextField.kt:7, www-authenticate: Bearer realm="notes"',
            "Visual Basic 8, token_type Bearer expires_in 3600",
        ),
        hint=r"\b(?i:bearer|basic|negotiate)[ \t]+[A-Za-z0-9+/=_~]",
        # class names in a sentence, parameters (realm=), words, and versions
        refuse=r"(?i:basic) [A-Z]?[a-z]+(?:[A-Z][a-z]+)*|[A-Za-z]+[ \t]+(?:[a-z]+(?:_[a-z]+)*[=:,]?|[0-9.]{1,5})",
    ),
    Recogniser(
        name="provider_key",
        tag="SECRET",
        clause="1.1.1",
        pattern=r"\b(?:A(?:KIA|SIA|IDA|ROA|GPA|NPA|NVA|IPA)[0-9A-Z]{16}|gh[pousr]_\w{20,}|github_pat_\w{20,}"
        r"|glpat-[\w-]{16,}"
        r"|xox[abeoprs]-[\w-]{10,}|xapp-[\w-]{10,}|AIza[\w-]{30,}|ya29\.[\w.-]{16,}|GOCSPX-[\w-]{16,}|1//0[\w-]{20,}"
        r"|(?:[rs]k|whsec)_(?:live_|test_)?\w{16,}|SG\.[\w-]{16,}\.[\w-]{16,}|npm_\w{30,}|pypi-\w{20,}|LTAI\w{12,}"
        r"|AKID\w{13,}|hf_\w{20,}|sk-[\w-]{20,}|shp(?:at|ca|pa|ss)_\w{20,}|dop_v1_\w{20,}|[0-9]{8,10}:AA[\w-]{32,}"
        r"|MII[BCEJ][A-Za-z0-9+/]{12,})"
        r"|(hooks\.slack\.com/(?:services|workflows)/)[\w/]+",
        replacement=r"\1<SECRET>",
        examples=(
            "uploading with AKIAIOSFODNN7EXAMPLE",
            "xoxb-1234567890-abcdef",
            "hooks.slack.com/services/T00/B00/XXX1",
        ),
        counter_examples=("AKIA is a prefix", "sk-SK locale, sk_buff, hf_hub"),
        hint=r"\b(?:A(?:KIA|SIA|IDA|ROA|GPA|NPA|NVA|IPA)[0-9A-Z]{8}|gh[pousr]_\w{8}|github_pat_|glpat-|xox[abeoprs]-"
        r"|xapp-"
        r"|AIza[\w-]{8}|ya29\.|GOCSPX-|1//0|(?:[rs]k|whsec)_\w{16}|SG\.[\w-]{16}|npm_\w{8}|pypi-\w{8}|LTAI|AKID"
        r"|hf_\w{8}"
        r"|sk-[\w-]{20}|shp(?:at|ca|pa|ss)_|dop_v1_|[0-9]{8,10}:AA|MII[BCEJ])|hooks\.slack\.com/",
    ),
    Recogniser(
        name="push_token",
        tag="TOKEN",
        clause="1.1.2-app",
        pattern=r"(?:[\w-]{4,}:)?APA91[\w-]{8,}",
        replacement="<TOKEN>",
        examples=("registered dGVzdA_x1:APA91bExampleOnly_0123456789-abc",),
        counter_examples=("APA91 is how one begins",),
        hint=r"APA91[\w-]",
    ),
)
_NAMED_AS_A_TAG = (
    r"[<\x01](?:CARD|CELL|DEVICE_ID|EMAIL|FILE|IBAN|ID|IMEI|IP|LOCATION|MAC|NAME|NATIONAL_ID|PASSPORT|PASSWORD|PHONE"
    r"|SECRET|SSID|TOKEN|USER|UUID)[>\x02]"
)
_ELEMENTS = (
    Recogniser(
        name="element",
        tag="VALUE",
        clause="1.1.1",
        # What an element of XML says that is named as a tag is: the engine takes the name for a tag.
        pattern=rf"({_NAMED_AS_A_TAG})[^<\n{MARKS}]+(</[A-Z_]+>)",
        replacement=r"\1<VALUE>\2",
        examples=("<SSID>Jansen thuis</SSID>", "<PASSWORD>hunter two</PASSWORD>"),
        counter_examples=("<SSID>unknown</SSID>", "<TITLE>Notes</TITLE>"),
        hint=rf"{_NAMED_AS_A_TAG}[^<\n{MARKS}]+</[A-Z_]+>",
        refuse=rf"[^A-Z]?[A-Z_]+.{NOTHING}</.*",
    ),
)

SECRETS: tuple[Recogniser, ...] = _ELEMENTS + _NAMED + _SHAPES
