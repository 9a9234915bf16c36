"""What is a frame and what is none, however a device, a build or a log writes it; and which frames are told by name."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.transforms.test_crash_groups import KEYS, bare, groups

KNOWN = {shown: pair for shown, pair in KEYS.items() if pair[0] != pair[1]}


@pytest.mark.parametrize("end", ["\r\n", " \n", "\t \r\n"])
@pytest.mark.parametrize("shown", KNOWN)
def test_blanks_at_the_end_of_lines_do_not_matter(shown, end):
    trace, key = KNOWN[shown]
    assert groups(trace.replace("\n", end) + end) == [key]
    assert bare(trace.replace("\n", end) + end) == bare(trace)


@pytest.mark.parametrize("before", [" ", "\n\n", "\ufeff", "\ufeff\r\n\t"])
@pytest.mark.parametrize("shown", KNOWN)
def test_blanks_before_a_trace_do_not_matter(shown, before):
    trace, key = KNOWN[shown]
    assert groups(before + trace) == [key]


PLACES = (
    "A.java:3",
    "A.java",
    "My File.kt:3",
    "main.kts:3",
    "A.clj",
    ":12",
    "Native Method",
    "Compiled Code",
    "Unknown Source",
    "Unknown Source:12",
    "Unknown source",
    "SourceFile",
    "SourceFile:3",
    "PG",
    "PG:3",
    "ProGuard",
    "null",
    "null:-1",
    "lambda",
    "<generated>",
    "<ADDR>:3",
    "R8$$SyntheticClass",
    "D8$$SyntheticClass",
    "D8$$SyntheticClass:0",
    "r8-map-id-abcdef",
    "r8-map-id-abcdef:5",
    "go/retraceme abc:1",
    "chromium-TrichromeWebViewGoogle6432.aab-stable-424011020:12",
    "com.google.android.gms@242013038@24.20.13 (190400-627556096)",
    ":com.google.android.gms@242013038@24.20.13 (190400-627556096):3",
)
AFTER = (" [app.jar!/:1.0]", " ~[a.jar:1]", "[a.jar:1]", " ~[a.jar:1] {3,1}", " (inlined)", " <7 more>")


@pytest.mark.parametrize("frame", [f"({place})" for place in PLACES] + ["(A.java:3)" + after for after in AFTER])
def test_a_frame_is_one_in_every_form_of_its_place(frame):
    assert groups(f"java.lang.Error\n\tat com.A.a{frame}\n\tat com.B.b{frame}") == [
        "java.lang.Error\n\ncom.A.a\ncom.B.b"
    ]


def test_the_first_line_of_a_crash_report_names_its_class():
    frame = "\tat com.example.A.a(A.java:1)"
    cause = "Caused by: java.io.EOFException: y"
    assert bare(f"Fatal Exception: x.Y: z\n{frame}\n{cause}", f"it went wrong\n{frame}\n{cause}") == [
        "x.Y caused by java.io.EOFException at com.example.A.a",
        "caused by java.io.EOFException at com.example.A.a",
    ]


@pytest.mark.parametrize(
    "prefix",
    [
        "09:59:59.123 E/AndroidRuntime( 1234): ",
        "<TIME> E/AndroidRuntime( 1234): ",
        "1614592799.123  1234  1250 E AndroidRuntime: ",
        "E( 1234: 1250) ",
        "03-01 09:59:59.123 u0_a123  1234  1250 E AndroidRuntime: ",
        "03-01 09:59:59.123456  1234  1250 E My:Tag  : ",
        "E/My:Tag( 1234): ",
    ],
)
@pytest.mark.parametrize("shown", [shown for shown in KNOWN if "logcat" not in shown])
def test_every_form_of_logcat_is_taken_off(prefix, shown):
    trace, key = KNOWN[shown]
    assert groups(prefix + trace.replace("\n", "\n" + prefix)) == [key]


def test_places_of_a_process_or_a_session_stay_out():
    native = "signal 11 (SIGSEGV)\n #00 pc 0001a2 {} (f+4)"
    script = "TypeError: x\n  at f (https://example.org/{}:1:2)"
    assert groups(*(native.format(place) for place in ("[stack:123]", "/data/<USER>/x.so", "/data/ada/x.so"))) == [
        "SIGSEGV\n\n[stack] f",
        "SIGSEGV\n\nx.so f",
        "SIGSEGV\n\nx.so f",
    ]
    files = ("a.js", "a.js;jsessionid=AB12", "a.js#token=ab", "a.js?to=/home/b.js")
    assert set(groups(*map(script.format, files))) == {"TypeError\n\na.js f"}


# --- told by name ---

SYMBOLS = (
    "abort",
    "std::vector<int, std::allocator<int> >::at(unsigned long) const",
    "A::run(char const* const*, long long, std::string const&)",
    "(anonymous namespace)::A::b(int)",
    "a::b()::{lambda(int)#1}::operator()(int) const",
    "a()::'lambda'(int)::operator()(int) const",
    "void a::b<int>(int&&, ...)",
    "std::__1::enable_if<true, int>::type a::b<int>(int)",
    "operator new(unsigned long)",
    "A::operator bool() const",
    "A::operator<<(char)",
    "non-virtual thunk to A::b()",
    "A::~A() [clone .cold]",
    "A::b() &&",
    "std::pair<int, int> a<int>(int)",
    "std::shared_ptr<A> a::b<A>(A const* const&)",
    "decltype(auto) a<int>(int)",
    "core::ops::function::FnOnce::call_once{{vtable.shim}}::h0a1b",
    "<alloc::vec::Vec<T> as core::fmt::Debug>::fmt",
    "<&mut dyn a::B as a::C>::d",
    "a::b::{closure#0}",
    "a::b(A (*)(B), void (A::*)(int) const)",
    "kfun:com.example.A#b(kotlin.String?){}kotlin.Int",
)


@pytest.mark.clause("1.1.4-b")
@pytest.mark.parametrize("symbol", SYMBOLS)
def test_a_symbol_of_a_language_is_told(symbol):
    (name,) = bare(f"signal 11 (SIGSEGV)\n #00 pc 0001a2 /data/app/libx.so ({symbol}+4)")
    assert name == "SIGSEGV at libx.so " + re.sub("#[0-9]", "#", symbol)


MODULES = {
    "/data/app/a/base.apk!libx.so": "libx.so",
    "/apex/com.android.runtime/bin/linker64": "linker64",
    "/data/dalvik-cache/arm64/data@app@a-1@base.apk@classes.dex": "data@app@a-1@base.apk@classes.dex",
    "/memfd:jit-cache (deleted)": "memfd:jit-cache",
    "/dev/ashmem/dalvik-jit-code-cache (deleted)": "dalvik-jit-code-cache",
    "[anon:libc_malloc]": "[anon:libc_malloc]",
    "libx.so.1": "libx.so.1",
}


@pytest.mark.parametrize("module", MODULES)
def test_a_module_is_told(module):
    assert bare(f"signal 11 (SIGSEGV)\n #00 pc 0001a2 {module} (f+4)") == [f"SIGSEGV at {MODULES[module]} f"]


DART = ("_A.b", "new A.of", "main.<anonymous closure>", "_A&B.c", "A.b.<fn>", "A.==", "A.[]=", "main", "A|get#b")


@pytest.mark.parametrize("name", DART)
def test_a_name_in_dart_is_told(name):
    assert bare(f"Unhandled Exception:\n#0      {name} (package:app/a.dart:1:2)") == [f"package:app/a.dart {name}"]


WORDS = (
    " #00 pc 0001a2 /data/x.so (Ada Lovelace lives in Main Street and is ill)",
    " #00 pc 0001a2 /data/x.so (Ada, Lovelace, ill)",
    " #00 pc 0001a2 /data/x.so (tell(Ada Lovelace))",
    " #00 pc 0001a2 /data/x.so (operator Ada)",
    " #00 pc 0001a2 /data/x.so (f(Ada lives::at)",
    ' #00 pc 0001a2 /data/x.so (open("/home/u/diary.txt")+4)',
    " #00 pc 0001a2 /data/[Ada Lovelace]/x.so (f+4)",
    " #00 pc 0001a2 /data/ada (f+4)",
    "#0 12 Main Street, Ada (dart:core)",
    "#0 pay for Ada Lovelace (package:a/b.dart)",
    "#0 main (package:a/of Ada.dart)",
    "  at Ada (Lunch:12:30)",
    "  at f (https://example.org/ada.lovelace?x:1:2)",
    "  at https://example.org/ada.lovelace:1:2",
    "  at run (blob:0a/b1:2:3)",  # which need not be a file of source
)


@pytest.mark.clause("1.1.4-b")
@pytest.mark.parametrize("line", WORDS)
def test_what_somebody_wrote_is_not_told(line):
    assert bare("java.lang.Error: x\n" + line) == [None]


AROUND = st.text(alphabet='Ada 0189:.-@/,()#"<>[]*', max_size=12)
OPENS = ("\tat ", "\tat a.b(", "\tat f (", "#0 ", "#00 pc 0a1 ", "#00 pc 0a1 /data/x.so (", "#00 pc 0a1 /data/x.so (f(")
CLOSES = ("", ")", "))", " (dart:core)", " (package:a/b.dart:1:2)", ":12:30)", ".js:1:2)", ".java:3)", "+4)", " (x.so)")


@pytest.mark.clause("1.1.4-b")
@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(OPENS), AROUND, AROUND, st.sampled_from(CLOSES)), min_size=1, max_size=4))
def test_no_two_words_of_a_line_are_told(lines):
    message = "".join(f"\n{opens}{left}Lovelace lives{right}{closes}" for opens, left, right, closes in lines)
    (name,) = bare(f"java.lang.Error: x{message}\n\tat com.example.A.a(A.java:1)")
    assert name is None or "Lovelace lives" not in name
