"""Recognisers of the forms in which programs write: calls, commands, statements, addresses, cards and directories."""

from schemas.recogniser import MARKS, NOTHING, SENTENCE, Recogniser

_IP_TAG = r"[<\x01]IP[>\x02]"
_WORD = rf"[^\s\"',;:=()\[\]{{}}<>{MARKS}]+"

FORMS: tuple[Recogniser, ...] = (
    Recogniser(
        name="called",
        tag="VALUE",
        clause="1.1.1",
        # a method named after what it is told: setUserId("x"), put("password", "x"), setName(Ada's phone)
        pattern=rf"(\b(?:set|with|identify)\w{{0,20}}(?:Id|Name|User|Email|Mail|Phone|Number|Password|Token|Pin"
        rf"|Secret|Serial"
        rf"|Ssid|Alias)\(\\*[\"'])[^\"'\\\n{MARKS}]+"
        rf"|(\b(?:put|set|add|append|header|field|param)\w*\(\\*[\"'][\w.-]*(?i:password|passwd|token|user|name"
        rf"|e-?mail|phone"
        rf"|msisdn|ime?i|imsi|serial|secret|api-?key|device-?id|ssid"
        rf"|account)[\w.-]*\\*[\"'], ?\\*[\"'])[^\"'\\\n{MARKS}]+"
        rf"|(\bset(?:Device|Display|User|Friendly|Adapter)?Name\()[^\s\"'().:{MARKS}]+ [^\"'():\n{MARKS}]+(\))",
        replacement=r"\1\2\3<VALUE>\4",
        examples=('setUserId("u_8812345_nl")', 'addHeader("X-Api-Key", "k8d2")', "setName(Jans telefoon)"),
        counter_examples=(
            'setContentView("main")',
            "setName(Native Method)",
            'getString("name", "x")',
            "setName(a.java:3)",
        ),
        hint=r"\b(?:set|with|identify|put|add|append|header|field|param)\w*\(\\*[\"'][^\"'\\]"
        r"|\bset\w{0,8}Name\([^\s\"'().:]+ ",
        refuse=r".*\((?:Native Method|Unknown Source)\)",
    ),
    Recogniser(
        name="login_line",
        tag="USER",
        clause="1.1.1",
        # what servers and shells write of who logs in
        pattern=rf"(\b(?i:logged|signed|logging|signing) (?i:in|on|out) (?i:as|for) ['\"]?){_WORD}"
        rf"|(\b(?:password|publickey|keyboard-interactive/pam|session opened|session closed"
        rf"|[Aa]uthentication failed) for "
        rf"(?:(?i:invalid|illegal) )?(?:user )?['\"]?){_WORD}|(\b(?i:(?:invalid|illegal|unknown"
        rf"|authenticating) user )){_WORD}"
        rf"( from\b| {_IP_TAG}| [0-9])|(\b(?i:user(?:name)?) ){_WORD}"
        rf"( (?:denied|logged|joined|left|disconnected|connected|authenticated)\b)"
        rf"|(\b(?i:user(?:name)? is |(?:for|by|of|as) user ['\"]?|user['\"]? ['\"\[])){_WORD}|(\bsudo: +"
        rf"|\b(?i:cron)\S*: \(){_WORD}( : TTY=|\) CMD)",
        replacement=r"\1\2\3\5\7\8<USER>\4\6\9",
        # words that a sentence goes on with
        refuse=r".*[ '\"(](?i:root|guest|admin|the|a|an|this|that|user|all|any|each|you|your|it|its|null|none|not|no"
        r"|is|was"
        r"|disabled|enabled|locked|missing|empty|required|valid|invalid|blank|already|unknown|requested|logged|signed"
        r"|current|default|system|self|other|agents?|interface|u?[0-9]{1,3}|in|and|or|to|by|for|with|has|does|at|app)"
        r"(?:['\"\]]|\) CMD| : TTY=| (?:from|denied|logged|joined|left|disconnected|connected|authenticated"
        r"|[0-9<\x01]).*)?",
        examples=("logged in as truus1951", "Failed password for jvisser from here", "username is sk8terboy, retrying"),
        counter_examples=("password for the user", "user is not found", "signed in as guest", "for user 10 (0 of 3)"),
        hint=r"(?i:logged|signed|logging|signing) (?i:in|on|out) (?i:as|for) |(?:password|publickey|/pam|opened"
        r"|closed|entication failed) "
        r"for |\b(?i:(?:for|by|of|as) user )|\b(?i:user(?:name)? is )|\b(?i:user)['\"]? ['\"\[]"
        r"|(?i:(?:invalid|illegal|unknown|authenticating) user )|\b(?i:user(?:name)?) [^\s]+ (?:denied|logged|joined"
        r"|left|disconnected|connected|authenticated)|: TTY=|\) CMD",
    ),
    Recogniser(
        name="command_option",
        tag="SECRET",
        clause="1.1.1",
        # who a command logs in as, and with what
        pattern=r"(\b(?:curl|wget|ldapsearch|mysql|psql|smbclient|sshpass|redis-cli|mongo\w*|kinit|docker login"
        r"|az login)\b[^\n]*?"
        rf" (?:-[upUwa] ?|--(?:user(?:name)?|password|pass)[= ])[\"']?)[^\s\"'{MARKS}-][^\s\"']*",
        replacement=r"\1<SECRET>",
        examples=("curl -u jan:geheim https://example.com/", "docker login -u jan -p dckr1"),
        counter_examples=("curl -s https://example.com/", "mysql -h db"),
        hint=r"\b(?:curl|wget|ldapsearch|mysql|psql|smbclient|sshpass|redis-cli|mongo\w*|kinit|docker login|az login)\b"
        r"[^\n]* (?:-[upUwa] ?[\"']?[^\s\"'-]|--(?:user|pass))",
    ),
    Recogniser(
        name="statement_values",
        tag="VALUE",
        clause="1.1.1",
        # all that is put into columns of people, and what a column is compared with
        pattern=rf"((?i:insert into|replace into) [^\n(]+\([^)\n]*(?i:name|mail|phone|pass|pw|token|imei|imsi|serial"
        rf"|address|user)"
        rf"[^)\n]*\) ?(?i:values) ?\([^'\"\n]*)['\"][^)\n?{MARKS}][^)\n]*"
        rf"|((?i:\b(?:where|and|or|like|set) )(?:[\w.\"`]+ ?(?i:=|like|<>) ?)?'%?)[^'\n%{MARKS}]+"
        # a row that breaks a rule of its table
        rf"|(\bKey \([^)\n]*(?i:name|mail|phone|user|login|account|imei|token)[^)\n]*\)=\()[^)\n{MARKS}]+"
        rf"|(\bDuplicate entry ')[^'\n{MARKS}]+(' for key '[^'\n]*(?i:name|mail|phone|user|login|account|imei|token))",
        replacement=r"\1\2\3\4<VALUE>\5",
        # a word of the program, not of a person
        refuse=r"(?i:where|and|or|like|set).*'%?(?:[a-z_]*|[A-Z_]*|[0-9]{1,4}|%[a-z]|sqlite_.*)|(?i:where|and|or"
        r"|set).*'[A-Z][a-z]+",
        examples=("INSERT INTO u(username,pw) VALUES('jan','geheim')", "WHERE name LIKE '%Jan Jansen%'"),
        counter_examples=("INSERT INTO u(name) VALUES(?)", "WHERE type='table' AND name = 'android_metadata'"),
        hint=r"(?i:values) ?\([^\n]*['\"][^)\n?]|\b(?i:where|and|or|like|set) (?:[\w.\"`]+ ?(?i:=|like|<>) ?)?'"
        r"|\bKey \([^)\n]+\)=\(|\bDuplicate entry '",
    ),
    Recogniser(
        name="modem_answer",
        tag="VALUE",
        clause="1.1.1",
        # numbers and names of the phone book, of a call, and of the SIM card (3GPP TS 27.007)
        pattern=rf"(\+C(?:PBR|PBF|NUM|LIP|CCWA|LCC|COLP)[:=][^\n]*?\")[^\",\n{MARKS}][^\"\n{MARKS}]*(\")",
        replacement=r"\1<VALUE>\2",
        examples=('+CPBR: 14,"Ada",129', '+CLCC: 1,0,0,0,0,"0201234567",129'),
        counter_examples=('+CPBR: 14,"",129', "+CNUM: ERROR"),
        hint=r"\+C(?:PBR|PBF|NUM|LIP|CCWA|LCC|COLP)[:=][^\n]*\"[^\",]",
    ),
    Recogniser(
        name="listed_pair",
        tag="VALUE",
        clause="1.1.1",
        # a pair of which the key is a value, too
        pattern=rf"([\"'](?:key|name|field)[\"']: ?[\"'][\w.-]*(?i:(?:user|customer|full|first|last|display|nick|family"
        rf"|given|contact|owner)[_.-]?name|e-?mail|phone|password|user[_.-]?id|login)[\"'], ?[\"'](?:string)?(?i:value)"
        rf"[\"']: ?[\"'])[^\"'\n{MARKS}]+",
        replacement=r"\1<VALUE>",
        examples=('{"key":"customer_name","value":"Ada Lovelace"}',),
        counter_examples=('{"key":"screen_name","value":"Checkout"}', '{"name":"phone","value":""}'),
        hint=r"(?i:name|mail|phone|password|user[_.-]?id|login)[\"'], ?[\"'](?:string)?(?i:value)",
    ),
    Recogniser(
        name="masked_phone",
        tag="PHONE",
        clause="1.1.1",
        # seven digits of a Chinese mobile number, which leave ten thousand
        pattern=r"\b1[3-9][0-9]\*{4}[0-9]{4}\b",
        replacement="<PHONE>",
        examples=("sent to 138****5678",),
        counter_examples=("card 4242****4242", "12*34"),
        hint=r"\b1[3-9][0-9]\*{4}[0-9]",
    ),
    Recogniser(
        name="owner_number",
        tag="ID",
        clause="1.1.2-log",
        # of who an object stands for: the first thing that is said of it
        pattern=r"(\b(?i:user|customer|member|patient|subscriber|person)(?:Dto|DTO|Entity|Info|Model|Data)?"
        r"(?:[\"']: ?)?[({\[][\"']?_?id[\"']?[:=] ?[\"']?)[\w-]{3,}",
        replacement=r"\1<ID>",
        refuse=r".*[:=] ?[\"']?(?i:null|none|undefined|unknown)",
        examples=('{"user":{"id":"41552"}}', "Customer[id=5571, vip=false]"),
        counter_examples=("User(id=5)", '{"user":{"id":null}}'),
        hint=r"(?i:user|customer|member|patient|subscriber|person)\w*(?:[\"']: ?)?[({\[][\"']?_?id[\"']?[:=]",
    ),
    Recogniser(
        name="quoted_name",
        tag="USER",
        clause="1.1.1",
        # between quotes behind the key, without a sign
        pattern=rf"(\b(?i:(?:remote|device|friendly|peer|display|user|full|nick|contact|first|last|sur)[_ .-]?name) "
        rf"[\"'])[^\"'\n{MARKS}]+",
        replacement=r"\1<USER>",
        refuse=rf".*[\"'](?:{NOTHING}|{SENTENCE})",
        examples=('RemoteName "Buds Ada" len 8', "matched display_name 'Ada Lovelace'"),
        counter_examples=('user name "null"', "deviceName '%s'"),
        hint=r"(?i:[a-z][_ .-]?name) [\"'][^\"']",
    ),
    Recogniser(
        name="notice",
        tag="VALUE",
        clause="1.1.1",
        # what is shown to somebody: of whom a call or a message is, and what it says
        pattern=rf"((?:\btickerText|\bandroid\.(?:title|text|bigText|subText|summaryText|conversationTitle"
        rf"|selfDisplayName)(?:\.big)?"
        rf"|\bconversationTitle)=(?:(?:Spannable)?String )?\(?)[^\s()\[{MARKS}][^\n),{MARKS}]*",
        replacement=r"\1<VALUE>",
        refuse=r".*=(?:String )?\(?null|.*=(?:Spannable)?String(?: \[.*| \(?)?",
        examples=("tickerText=Jan: tot morgen", "android.title=String (Jan Jansen)"),
        counter_examples=("android.title=String [length=12]", "tickerText=null"),
        hint=r"\btickerText=|\bandroid\.\w+(?:\.big)?=|\bconversationTitle=",
    ),
    Recogniser(
        name="name_element",
        tag="USER",
        clause="1.1.1",
        pattern=rf"(<(?:\w+:)?(?i:(?:first|last|middle|full|sur|given|family|user|nick|display|holder|owner|contact"
        rf"|customer)"
        rf"[_-]?name|surname|login)(?: [^<>\n]*)?>)[^<\n{MARKS}]+(</)",
        replacement=r"\1<USER>\2",
        examples=('<n:LastName lang="nl">Jansen</n:LastName>',),
        counter_examples=("<LastName></LastName>", "<FileName>a.txt</FileName>"),
        hint=r"<(?:\w+:)?(?i:\w{0,8}[_-]?name|login)(?: [^<>\n]*)?>[^<\n]+</",
    ),
    Recogniser(
        name="payment_address",
        tag="EMAIL",
        clause="1.1.1",
        # of UPI, which has no domain
        pattern=r"\b[\w.-]{3,}@(?:ok(?:hdfcbank|hdfc|axis|sbi|icici|bank)|ybl|ibl|axl|apl|paytm|upi|sbi|icici"
        r"|hdfcbank)\b",
        replacement="<EMAIL>",
        examples=("transfer by rahulv@okhdfcbank",),
        counter_examples=("a@b", "notes@upid"),
        hint=r"@(?:ok|ybl|ibl|axl|apl|paytm|upi|sbi|icici|hdfcbank)",
    ),
    Recogniser(
        name="card_content",
        tag="VALUE",
        clause="1.1.1",
        # a visiting card, and what a code on one says
        pattern=rf"(\b(?:WIFI|wifi|MECARD|BIZCARD):)[^\n]*;|^((?:item[0-9]\.)?(?:FN|NICKNAME|BDAY"
        rf"|ADR)(?:;[^:\n]*)?:)[^\n{MARKS}]+"
        rf"|^(N(?:;[^:\n]*)?:)[^;\n{MARKS}]*;[^\n]*",
        replacement=r"\1\2\3<VALUE>",
        examples=("WIFI:S:Jansen;T:WPA;P:hunter2;;", "FN:Jan Jansen", "N:Jansen;Jan;;;"),
        counter_examples=("N: 12", "WIFI: connected", "FN=12"),
        hint=r"\b(?:WIFI|wifi|MECARD|BIZCARD):[^\n]*;|^(?:item[0-9]\.)?(?:FN|NICKNAME|BDAY|ADR|N)[;:]",
    ),
    Recogniser(
        name="directory_name",
        tag="USER",
        clause="1.1.1",
        # of a person in a directory: of a certificate the name says who issued it
        pattern=rf"(\b(?i:CN|uid|samaccountname)=)[^,=\n{MARKS}]+((?:,[ ]?[A-Za-z]+=[^,=\n]+)*,[ ]?(?i:dc)=)",
        replacement=r"\1<USER>\2",
        examples=("bind CN=Ada Lovelace,OU=Sales,DC=example,DC=org",),
        counter_examples=("CN=Example CA,O=Example,C=NL",),
        hint=r",[ ]?(?i:dc)=",
    ),
    Recogniser(
        name="path_id",
        tag="ID",
        clause="1.1.2-log",
        # whom an address is about, and what one opens with it
        pattern=rf"([/= \"'](?i:users?|accounts?|customers?|members?|profiles?|people|patients?|subscribers?|contacts?"
        rf"|lookup)/)"
        rf"[^\s/\"'?#&<>:{MARKS}]+"
        rf"|((?i:\bt\.me|facebook\.com|instagram\.com|twitter\.com|\bx\.com|linkedin\.com/in|tiktok\.com"
        rf"|vk\.com)/)[\w.@-]+"
        rf"|((?i:reset|verify|confirm|activate|invite|invitation|unsubscribe|magic|token"
        rf"|session)[\w-]{{0,20}}/)[\w-]{{16,}}",
        # numbers, names with a sign between, and what is drawn at random
        accept=r"[/= \"'](?:[a-zA-Z]+/[^0-9]*(?:[0-9][^0-9]*){4,}|lookup/.*[0-9].*"
        r"|[a-z]+/[a-z]+[._][a-z]+)|[^/]*(?:com"
        r"|me)(?:/in)?/.*"
        r"|[^/]*/[^0-9]*(?:[0-9]+[A-Za-z_-]+){3,}[0-9]*",
        refuse=r".*\.(?:[a-z]?[jt]sx?|html?|php|json|xml|png|jpe?g|svg|css|py|java|kt|md|txt|db|do|aspx?|jsp)",
        replacement=r"\1\2\3<ID>",
        examples=("GET /v1/users/8839201/profile", "/accounts/u-99182", "/profile/jan.jansen/edit"),
        counter_examples=("/users/me/profile", "/users/12", "/profiles/v2", "/users/index.2024.js", "/user/list.html"),
        hint=r"[/= \"'](?i:users?|accounts?|customers?|members?|profiles?|people|patients?|subscribers?|contacts?"
        r"|lookup)/(?:(?:[^\s/0-9]*[0-9]){4}|[a-z]+[._][a-z])|[/= \"']lookup/[^\s/]*[0-9]"
        r"|(?i:\bt\.me|facebook\.com|instagram\.com|twitter\.com|\bx\.com|linkedin\.com/in|tiktok\.com|vk\.com)/[\w.@-]"
        r"|(?i:reset|verify|confirm|activate|invite|invitation|unsubscribe|magic|token|session)[\w-]*/[\w-]{16}",
    ),
    Recogniser(
        name="push_token_apart",
        tag="TOKEN",
        clause="1.1.2-app",
        pattern=r"<[0-9a-f]{8}(?: [0-9a-f]{8}){7}>",
        replacement="<<TOKEN>>",
        examples=("pushed to <740f4707 bebcf74f 9b7c25d4 8e335894 5f6aa01d a5ddb387 462c7eaf 61bb78ad>",),
        counter_examples=("<740f4707 bebcf74f 9b7c25d4 8e335894>",),
        hint=r"<[0-9a-f]{8} [0-9a-f]{8} ",
    ),
)
