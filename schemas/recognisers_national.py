"""Recognisers of numbers that a state gives to people, by the key before them.

The keys are what the numbers are called in the languages of their countries and in English. A name of a number that is
a word or an abbreviation of its own counts wherever it stands in a key; one that is short or has another meaning, too,
only as a whole word of it.
"""

import re
import unicodedata

from schemas.recogniser import BEYOND_ASCII, JOINED, LOOSELY, OF_SOMEBODY, Recogniser, named_shape, whole_words

_WRITTEN_OUT = {"ä": "ae", "ö": "oe", "ü": "ue", "ø": "oe", "å": "aa"}
_BARE = {"ø": "o", "ł": "l", "đ": "d", "ı": "i"}


def _letter(letter: str) -> str:
    """A letter as people write it: with its sign, without, or with another letter for it."""
    bare = _BARE.get(letter) or unicodedata.normalize("NFD", letter)[0]
    if bare == letter or not bare.isascii():
        return letter
    ways = (letter, unicodedata.normalize("NFD", letter), bare, _WRITTEN_OUT.get(letter))
    return f"(?:{'|'.join(dict.fromkeys(filter(None, ways)))})"


def _spelt(names: str) -> str:
    """Names, one a line or between bars, in all their spellings: a blank stands for any sign between words or none."""
    joined = "|".join(name.strip() for name in re.split(r"[|\n]", names) if name.strip())
    return "".join(r"[_ .-]?" if sign == " " else _letter(sign) for sign in joined)


_NAMES = _spelt("""
    aadhaar|aadhar|adhaar|uidai|आधार|voter id
    身份证号码|身份证号|身份证|身份証|身分證|证件号码|证件号|公民身份号码|居民身份|マイナンバー|個人番号|주민등록번호|주민번호
    снилс|инн|snils|страховой номер|налоговый номер|рнокпп|егн|единен граждански номер|рођени број|матични број
    rijksregister|riziv|registre national|registro nacional|numéro national|numero nacional|nationaal nummer
    national number|national no|national nr|national id|nationale id|national nummer|national insurance
    burgerservice|sofinummer|sofi nummer|sofinr|sofi nr
    sozialversicherung|sozialvers|versicherungsnummer|versicherten nummer|versichertennr|rentenversicherung
    svnummer|sv nummer|svnr|sv nr|rvnr|ahv nummer|ahv nr|numéro avs|personalausweis|ausweisnummer|ausweisnr
    steuer id|steueridentifikation|steuer ident|steuernummer|steuernr|steuer nr|identifikationsnummer|identifikationsnr
    rodné číslo|rodného čísla|rodne cisla|číslo občanského průkazu|občanský průkaz|rodc
    personnummer|personnr|person nr|person nummer|personnumret|samordningsnummer|personbeteckning
    fødselsnummer|fødselsnr|fodselsnummer|fodselsnr|fødselsnummeret|kennitala|kennitölu
    henkilötunnus|henkilotunnus|henkilötunnuksen|sosiaaliturvatunnus|hetu
    isikukood|isiku kood|asmens kodas|asmens kodo|personas kods|personas koda|personas kodu
    carte vitale|sécurité sociale|securite sociale
    n° sécu|num secu|numéro de sécu|numéro sécu|n secu|numéro fiscal|nir insee
    codice fiscale|cod fiscale|codfiscale|cod fisc|codfis|tessera sanitaria
    documento nacional|documento de identidad|documento identidad|número de identificación|seguridad social
    contribuinte|identificação fiscal|cartão de cidadão|cartão cidadão
    segurança social|número de utente|número utente|utente saúde
    cod numeric personal|cod numeric|pesel|dowód osobisty|dowodu osobistego|numer dowodu
    osobni identifikacijski|osobni broj|matični broj|jmbg|davčna številka|davčna št|emšo
    tajszám|taj szám|személyi szám|személyi azonosító|adóazonosító|társadalombiztosítási
    αμκα|αφμ|ταυτότητας|αριθμός ταυτότητας|amka
    kimlik no|kimlik numarası|tc kimlik|tckn|tckimlik|cadastro de pessoas|clave única|cédula
    social security|social insurance|soc sec|taxpayer|tax payer|tax id|tax number|tax no|tax nr|tax ref
    identity number|identity no|identity nr|identity document|identity card|identity code|identification number
    identification code|identification no|personal number|personal code|personal id|person id number|person number
    personal identity|personal identification|birth number|birth no|birthnumber
    citizen id|citizen no|citizen number|citizen card|resident id|resident number|resident registration
    social number|insurance number|insurance no|insurance nr|insurant|health card|health insurance|patient id
    nhs number|nhs no|ni number|medicare
    """)
# Abbreviations that are nothing else, and such as are words, too, or names of other things.
_WORDS = (
    "bsn|idnr|cpr|fnr|oib|egn|cnp|nrn|rrn|niss|insz|ppsn?|vsnr|taj|afm|insee|ssn|pnr|itin|nino|cpf|curp|ahv|cuil|cuit"
    "|id[_ .-]?card|id[_ .-]?code|b\\.s\\.n|d\\.n\\.i|n\\.i\\.[fe]|a\\.f\\.m|s\\.s\\.n|c\\.p\\.f"
)
_DOUBTFUL = "dni|nie|nif|svn|nir|nss|inn|iin|cf|pan|tin|nin|avs|nip|dnr|id[_ .-]?no|id[_ .-]?nr|id[_ .-]?number"

# Digits in groups with a letter at the front, at the end or between them; or what is mostly letters: a codice fiscale,
# a PAN, a CURP, a national insurance number.
_FISCAL = r"[A-Z]{3}[ -]?[A-Z]{3}[ -]?[0-9L-V]{2}[ -]?[A-Z][ -]?[0-9L-V]{2}[ -]?[A-Z][0-9L-V]{3}[ -]?[A-Z]"
_LETTERED = rf"(?i:{_FISCAL}|[A-Z]{{5}}[0-9]{{4}}[A-Z]|[A-Z]{{4}}[0-9]{{6}}[A-Z]{{6}}[0-9A-Z][0-9])\b"
_INSURED = r"(?i:[A-Z]{2}[ -]?(?:[0-9]{2}[ -]?){3}[A-D])\b"
_DIGITS = (
    r"(?:[XYZxyz][ -]?)?[0-9](?:(?: ?- ?|[ ./+-])?[A-Z]?[0-9]){7,19}(?:-?[A-Za-z]{1,2}[0-9]?| [A-Z](?:[A-Z][0-9])?)?\b"
    r"|[0-9]{6}[+A-Fa-f-][0-9]{3}[0-9A-Za-z]\b|[12](?: ?[0-9]{2}){2} ?2[AaBb](?: ?[0-9]{3}){2}(?: ?[0-9]{2})?\b"
    r"|[A-Z][0-9]{9}\b|[XYZxyz]?-?[0-9]{6,7}(?:-?[A-Za-z]{1,2}| [A-Z]{1,2})\b"
)
_START = (
    r"[A-Z][0-9]{9}|[A-Za-z]{3}[ -]?[A-Za-z]{3}[ -]?[0-9L-Vl-v]{2}|[A-Za-z]{4,5}[0-9]{4}"
    r"|[A-Za-z]{2}[ -]?[0-9]{2}[ -]?[0-9]{2}"
    r"|[XYZxyz]?[ -]?[0-9](?:(?: ?- ?|[ ./+-])?[A-Z]?[0-9]){4}|[12] ?[0-9]{2} ?[0-9]{2} ?2[AaBb]"
)

# One decimal number, and a date with a time of day, are none.
_OTHER = r".*[^0-9./-][0-9]{1,3}\.[0-9]+|.*[^0-9./-](?:19|20)[0-9]{2}[./-][01][0-9][./-][0-3][0-9](?: [0-9.]+)?"

NATIONAL: tuple[Recogniser, ...] = (
    named_shape(
        name="national_pair",
        tag="NATIONAL_ID",
        clause="1.1.1",
        # the names with an ending, too
        keys=rf"(?i:(?:{_NAMES})[a-z{BEYOND_ASCII}]*)",
        anywhere=True,
        loosely=OF_SOMEBODY,
        shape=f"{_LETTERED}|{_INSURED}|{_DIGITS}",
        refuse=_OTHER,
        examples=(
            "PESEL 85073003328 is not registered",
            "numer PESEL pacjenta: 85073003328",
            "身份证: 11010519491231002X",
            "codice_fiscale: RSSMRA85T10A562S",
            "numéro de sécurité sociale : 2 95 10 99 126 111 93",
        ),
        counter_examples=("pesel_checked_at=1700000000000", "PESEL check of 12 took 12.345678 s"),
    ),
    named_shape(
        name="national_abbreviation",
        tag="NATIONAL_ID",
        clause="1.1.1",
        keys=whole_words(_WORDS),
        anywhere=True,
        loosely=OF_SOMEBODY,
        start=_START,
        shape=f"{_LETTERED}|{_INSURED}|{_DIGITS}",
        refuse=_OTHER,
        examples=(
            "bsn=123456782",
            "BSN van klant: 123456782",
            "tajNumber: 123 456 788",
            "cnp_client=1850730033289",
            "<CPR-nummer>070761-4285</CPR-nummer>",
        ),
        counter_examples=("cpr_checked_at=1700000000000", "bsn: null"),
    ),
    named_shape(
        name="national_word",
        tag="NATIONAL_ID",
        clause="1.1.1",
        keys=whole_words(_DOUBTFUL),
        anywhere=True,
        loosely=rf"{LOOSELY}|{JOINED}",
        start=_START,
        shape=f"{_LETTERED}|{_INSURED}|{_DIGITS}",
        refuse=_OTHER,
        examples=("INN_FL=770708389312", "nif-titular=123456789"),
        counter_examples=(
            "inn 10 is closed",
            "uid=10123, nir=0, pan: 12.5",
            "cf: com.example",
            "tin foil 1234",
            "PANEL=123456789, panX: 0.123456789",
            "nie znaleziono 12345678",
        ),
    ),
    named_shape(
        name="national_checked",
        tag="NATIONAL_ID",
        clause="1.1.1",
        # names of so many things that the check digit has to decide
        keys=whole_words("rc|rč|ik|kt|nn"),
        anywhere=True,
        loosely=LOOSELY,
        start=r"[0-9](?:[ ./-]?[0-9]){5}",
        # groups of any size, of which those of a date are none
        shape=r"[0-9]{9,11}\b|[0-9]{2,6}(?:[ ./-][0-9]{1,6}){1,4}\b",
        refuse=r".*[^0-9](?:19|20)[0-9]{2}[./-][01][0-9][./-][0-3][0-9].*",
        validator="national_number",
        examples=("rc_pacienta=7103192745", "rc_pacienta: 7103.1927.45"),
        counter_examples=("rc=-22, rc: 7103192746", "in kt 1234567890", "rc: 71.03.19"),
    ),
    named_shape(
        name="passport",
        tag="PASSPORT",
        clause="1.1.1",
        keys=r"(?i:pass[_ .-]?port|pass?eport|pasaporte|passaport[eo]|paspoort|reisepass|paszport[a-z]{0,3}"
        r"|pașaport|pasaport|putovnica|útlevél|passin?numero|διαβατ[ήη]ριο|cestovn[íi][_ .-]?pas"
        r"|travel[_ .-]?document"
        r"|паспорт[а-я]*|driv(?:er'?s?|ing)[_ .-]?licen[cs]e|rijbewijs|führerschein|permis[_ .-]?de[_ .-]?conduire"
        r"|护照(?:号码?)?|護照(?:號碼)?|パスポート|여권(?:번호)?|पासपोर्ट)",
        anywhere=True,
        loosely=OF_SOMEBODY,
        start=r"[A-Za-z]{0,5} ?[0-9]",
        shape=r"[A-Z9]{5}[0-9]{6}[A-Z9]{2}[0-9][A-Z]{2}\b|[A-Z]{0,3} ?[0-9](?:[ -]?[0-9]){5,9}[A-Z]?\b"
        r"|[A-Z]{1,3}[0-9][0-9A-Z]{4,8}\b"
        r"|[a-z]{1,3}[0-9]{6,9}[a-z]?\b|[a-z][0-9a-z]?[0-9][0-9a-z]{4,6}[0-9]\b",
        examples=(
            "passport_no=C01X00T47",
            "паспорт 45 06 123456",
            "Passport number: AB1234567",
            "reisepass: c01x00t47",
        ),
        counter_examples=("PassportActivity.kt:31", "passport: null", "passport strategy 12"),
    ),
)
