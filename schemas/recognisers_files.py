"""Recognisers of what people keep in files: names that they give, and folders that are named after them."""

from schemas.recogniser import MARKS, Recogniser

# The folders of shared storage that every device has.
_FOLDERS = (
    r"(?:DCIM|Pictures|Movies|Music|Download|Documents|Recordings|Ringtones|Alarms|Podcasts|MIUI|Tencent|WhatsApp)"
    r"(?:/(?:Camera|Screenshots|Media(?:/WhatsApp [A-Z][A-Za-z ]*(?:/(?:Sent|Private))?)?))?"
)

FILES: tuple[Recogniser, ...] = (
    Recogniser(
        name="user_file",
        tag="FILE",
        clause="1.1.1",
        # What a person keeps in shared storage. Its first folder stays, and all that applications keep there.
        pattern=r"(/(?:storage/(?:emulated/[0-9]+|self/primary|[0-9A-F]{4}-[0-9A-F]{4})"
        r"|data/media/[0-9]+|mnt/user/[0-9]+/(?:primary|[0-9A-F]{4}-[0-9A-F]{4})"
        r"|(?:mnt/)?sdcard[0-9]?)/(?:Android/media/[\w.]+/)?"
        rf"(?:{_FOLDERS}/)?"
        r"|\.(?:externalstorage|providers\.\w+)\.documents/(?:document|tree)/[\w-]+(?::|%3A)"
        rf"(?:(?:/|%2F)storage(?:/|%2F)emulated(?:/|%2F)[0-9]+(?:/|%2F))?(?:{_FOLDERS}(?:/"
        rf"|%2F))?)[^\s/\"':,;)\]{MARKS}][^\s\"':,;)\]{MARKS}]*(?:(?: [\w()&+-]+){{1,6}}\.\w{{2,4}}\b)?",
        replacement=r"\1<FILE>",
        examples=(
            "/storage/emulated/0/Download/Jansen CV.pdf: open failed",
            "/sdcard/jansen/notes.txt",
            "/sdcard/WhatsApp/Media/WhatsApp Images/IMG-20261117-WA0001.jpg",
            "/storage/emulated/0/Android/media/com.whatsapp/WhatsApp/Media/WhatsApp Documents/Sent/CV Jansen.pdf",
        ),
        counter_examples=("/storage/emulated/0/Android/data/com.example.app/files/a.db", "/storage/emulated/0/DCIM/"),
        hint=r"/(?:storage/(?:emulated|self|[0-9A-F]{4}-)|sdcard|data/media/[0-9]|mnt/user/[0-9])"
        r"|\.documents/(?:document|tree)/",
        refuse=rf".*/Android(?:/(?:data|obb|media/[\w.]+/[^W]).*|/media(?:/[\w.]+)?)?/?|.*(?:/|:|%3A"
        rf"|%2F){_FOLDERS}(?:/|%2F)?"
        # a document by its number
        r"|.*(?:documents/(?:document|tree)/)[\w-]+(?::|%3A)[0-9]+",
    ),
    Recogniser(
        name="user_path",
        tag="USER",
        clause="1.1.1",
        # /data/user/0/<package> names an application, not a person: it has a dot, and stays
        pattern=rf"((?:^|[^\w./-]|file://|/mnt/[a-z]|[A-Za-z]:)/(?:export/)?(?:home|Users)/)[^\s/\"':,;)\]{MARKS}]+"
        rf"|(/data/user(?:_de)?/[0-9]+/)[^\s/\"'.:,;)\]{MARKS}]+(\.?(?:[^\w.-]|$))"
        rf"|(/storage/emulated/)[1-9][0-9]*"
        rf"|(\b[A-Za-z]:[\\/]{{1,4}}(?:Users|Documents and Settings)[\\/]{{1,4}})[^\\/:*?\"<>|\n{MARKS}]+",
        replacement=r"\1\2\4\5<USER>\3",
        examples=(
            "open /storage/emulated/10/DCIM and /home/jansen/x",
            r"C:\Users\Piet Jansen\AppData",
            "chdir /data/user/0/jansen/build",
        ),
        counter_examples=(
            "/data/user/0/com.example.app/files/cache.db",
            "https://example.com/home/feed",
            "/data/user_de/0/android",
        ),
        refuse=r"/data/user(?:_de)?/[0-9]+/android\W?",
        hint=rf"/data/user(?:_de)?/[0-9]+/[^\s/\"'.:,;)\]{MARKS}]+\.?(?:[^\w.-]|$)|/storage/emulated/[1-9]"
        rf"|/home/[^{MARKS}]|/Users/[^{MARKS}]|:[\\/]{{1,4}}(?:Users|Documents and)",
    ),
)
