"""Recognisers of people by the key before: of their names, and of how one reaches them."""

from schemas.recogniser import (
    BEYOND_ASCII,
    FULL_NAME,
    JOINED,
    LOOSELY,
    MARKS,
    NOTHING,
    PERSON,
    PRINTED,
    SENTENCE,
    WORD,
    Recogniser,
    named_shape,
    named_text,
    whole_words,
)

# Three digits, or signs between them, in base64: too short a text of it is taken for a word.
_IN_BASE64 = r"(?:[I-O][CDSTijyz][AEIMQUYcgkosw048][g-z0-5])"

PEOPLE: tuple[Recogniser, ...] = (
    named_shape(
        name="phone_pair",
        tag="PHONE",
        clause="1.1.1",
        keys=r"(?i:(?:phone|tel|mobile)[_ .-]?(?:home|work|main|private|primary|e164)|phone(?:_lookup)?|msisdn"
        r"|voice[_ .-]?mail|whatsapp|\bwa\.me|telefon|téléphone|телефон|номер|手机(?:号码?)?|电话(?:号码?)?"
        r"|電話(?:番号)?"
        r"|전화(?:번호)?|dial[_ .-]?string|celular|मोबाइल(?: नंबर)?|फ़ोन(?: नंबर)?|line1|dial(?:l?ed|l?ing)?)|"
        + r"\b(?i:tel|sms|smsto|mmsto|callto|whatsapp|viber)://[a-z]{0,12}|"
        + r"\b(?i:call(?:s|ed|ing)?|ring(?:s|ing)?|sms(?:_deliver|_received)?|mms|otp sent)(?i:[ \t](?:to|from))"
        + r"|\b(?i:calling)|"
        + whole_words(
            "tel|mobile|mob|handy|cell|sms|smsto|mmsto|callto|fax|caller|callee"
            r"|originating[_ .-]?address|dest(?:ination)?[_ .-]?addr(?:ess)?"
        ),
        loosely=rf"{LOOSELY}|{JOINED}",
        start=rf"(?:%2B|[+(])?[0-9](?:[ ()./-]{{0,2}}[0-9]){{5}}|{_IN_BASE64}{{2}}",
        shape=r"(?:%2B|[+(])?[0-9](?:[ ()./-]{0,2}[0-9]){5,}"
        rf"|{_IN_BASE64}{{2,7}}(?:[I-O][CDSTijyz][AEIMQUYcgkosw048]=?|[I-O][AQgw](?:==)?)?",
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
            "mobile=NjQwLTI3NDA= up",
        ),
        counter_examples=(
            "mobile: CONNECTED",
            "call to method 1234567",
            "phone 0 is in service, phoneId=1",
            "tel: null",
        ),
    ),
    named_shape(
        name="phone_number",
        tag="PHONE",
        clause="1.1.1",
        # words that are said of other numbers, too: so a number begins as one does that is dialled
        keys=whole_words(
            "number|num|sender|recipient|address|addr|data1|contact|mailbox|subscriber|originator|peer|remote"
            "|destination|alias|lookup[_ .-]?key"
        ),
        loosely=r"[ \t]",
        start=r"(?:0[1-9]|00[1-9]|1[3-9]|3|4|7|86|91)[0-9]{8}",
        shape=r"0[1-9][0-9]{8,9}\b|00[1-9][0-9]{8,12}\b|1[3-9][0-9]{9}\b|(?:31|32|33|34|36|39|4[013-9]|7|86|91)[0-9]{9,11}\b",
        examples=("DIAL {number=0612345678, clir=0}", "sender=447911123456", "insert data1=0201234567"),
        counter_examples=("number=12", "address=0x7f3a12345678", "num: 1700000000", "number=1729123200000"),
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
        keys=r"(?i:(?:nick|full|first|middle|last|display|screen|real|sur|given|family|contact|customer"
        r"|owner|payee|payer|caller|passenger|beneficiary|recipient)[_ .-]?(?:name|nm\b)"
        r"|\b(?:customer|member|patient|profile|external|shopper|payer|buyer|sso|zalo)[_ .-]?(?:id|reference)"
        r"|(?:account ?[:=] ?)?account ?\{ ?name|\b(?:user|contact|person|profile|customer|member|patient)"
        r"(?:dto|entity|model|data|info)?[({](?:id=[\w-]*, )?name|card[_ .-]?holder|whoami"
        r"|alpha[_ .-]?(?:tag|id(?:entifier)?)"
        r"|用户名|姓名|昵称"
        r"|фамилия|никнейм|логин|账号|아이디|identifiant|cnap[_ ]?name|player[_ .-]?name)|"
        + whole_words("user|account|login|nick|holder"),
        bare=rf"{FULL_NAME}|{WORD}",
        # numbers of profiles and applications, accounts of the system, and what a program says of its own objects
        sentence=rf"{SENTENCE}|(?:verif|start|request|complet|attempt)[a-z]*|code|button|page|screen|with|via|flow"
        rf"|form|timed",
        refuse=rf"{PRINTED}|{SENTENCE}|u?[0-9]{{1,3}}(?:[ais][0-9]+)*|-[0-9]+"
        r"|(?i:root|system|shell|nobody|radio|wifi|bluetooth|media|nfc|user|guest|owner|admin|all|any|current|other)",
        examples=(
            "userName: Ada Lovelace signed in",
            "Account {name=bob, type=com.example}",
            "User(id=5, name=Ada Lovelace, age=31)",
            'lastLogin={user:"bob"}',
        ),
        counter_examples=(
            "UserManager.getUsers(UserManager.java:402)",
            "user=0 userId: u0a113 account=null",
            "user: USER_ALL",
        ),
    ),
    named_shape(
        name="full_name",
        tag="USER",
        clause="1.1.1",
        keys=r"\b(?i:name|passenger|recipient|owner|payee|attendee|organi[sz]er|guest|beneficiary|assignee|ticker)",
        start=rf"[A-Z{BEYOND_ASCII}][A-Za-z{BEYOND_ASCII}'’.-]* (?:[a-z]{{2,5}} ){{0,2}}[A-Z{BEYOND_ASCII}]",
        shape=FULL_NAME,
        # what programs give names to
        refuse=r".*(?i:\b(?:thread|pool|service|manager|dispatcher|worker|catcher|daemon|handler|loader|store|play"
        r"|sensor"
        r"|camera|keyboard|network|task|queue|view|app|google|android|system|default|test|home|error|exception|united"
        r"|settings|notes|light|media|voice|english|http|server|client|provider|engine|driver|device|screen|page"
        r"|theme|material|dark|sans|release|button|dialog|menu)\b).*",
        examples=("Name: Ada Lovelace", '{"name":"Ada King van Lovelace"}', "<name>Ada Lovelace</name>"),
        counter_examples=("name=Signal Catcher", '"name": "Google Play Store"', 'name: "default"'),
    ),
    named_shape(
        name="person_name",
        tag="USER",
        clause="1.1.1",
        # words of other languages than programs are written in
        keys=r"(?:(?:\b|_)(?i:naam|nombre|nome|nom|prénom|cognome|apellidos?|vorname|nachname|voornaam|achternaam"
        r"|imię|nazwisko"
        r"|namn|navn|jméno|příjmení|benutzer(?:name)?|gebruiker(?:snaam)?|usuario|utente|utilisateur|użytkownik)"
        r"|имя|фио|ФИО|отчество|ник|氏名|名前|이름|नाम|الاسم|[Aa]d [Ss]oyad|[Ii]sim|联系人|收件人|收货人|寄件人"
        r"|持卡人|开户人|户主|乘客)",
        start=rf"[\w{BEYOND_ASCII}]",
        shape=rf"{PERSON}|[a-z][\w.-]*",
        examples=("Naam: Jansen", "имя=Иван Петров", "usuario: mgarcia"),
        counter_examples=("имя файла слишком длинное", "naam ontbreekt", "nombre: null"),
        refuse=rf".*(?:[=:：] ?|>)(?:{SENTENCE}|{NOTHING})",
    ),
    Recogniser(
        name="user_info",
        tag="USER",
        clause="1.1.1",
        # what Android prints of a profile: its number, its name, its flags; and of an account that is synchronised
        pattern=rf"(\bUserInfo\{{[0-9]+:)[^{{}}{MARKS}][^{{}}]*(:[0-9a-fA-F]+\}})|\b[A-Za-z][\w-]+( u[0-9]+ \([a-z])",
        replacement=r"\1<USER>\2\3",
        examples=("UserInfo{0:Ada Lovelace:c13} running",),
        counter_examples=("UserInfo{0:Owner:c13} running", "UserInfo{10:null:30}"),
        hint=r"\bUserInfo\{[0-9]|[\w-] u[0-9]+ \([a-z]",
        refuse=r"UserInfo\{[0-9]+:(?i:null|owner|guest|work profile|system)?:.*",
    ),
)
