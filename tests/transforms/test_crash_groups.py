"""Crashes of one cause have one key, whoever's device they are of, and crashes of different causes do not."""

import re

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.sampling.texts import CRASHES
from tests.scrubbing.cases import clean_traces
from transforms.coarse import UNITS, coarsen
from transforms.crash_groups import bare_groups, crash_groups
from transforms.scrub import Scrubber

LOOP = """
	at android.os.Handler.dispatchMessage(Handler.java:99)
	at com.android.internal.os.ZygoteInit.main(ZygoteInit.java:947)"""

# By what it shows: (trace, its key).
KEYS = {
    "a class, and the application's frames without their lines": (
        "java.lang.NullPointerException: no length of 'ada'\n"
        "\tat com.android.browser.Tab.restore(Tab.java:12)\n\tat com.android.browser.Main.start(Main.java:4)" + LOOP,
        "java.lang.NullPointerException\n\ncom.android.browser.Tab.restore\ncom.android.browser.Main.start",
    ),
    "the topmost frames, where none is the application's": (
        "android.os.DeadObjectException\n\tat android.os.BinderProxy.transact(BinderProxy.java:540)" + LOOP,
        "android.os.DeadObjectException\n\nandroid.os.BinderProxy.transact\nandroid.os.Handler.dispatchMessage"
        "\ncom.android.internal.os.ZygoteInit.main",
    ),
    "the root cause, and nothing that was suppressed": (
        "java.lang.RuntimeException: Unable to start\n\tat com.example.A.a(A.java:1)\n"
        "\tSuppressed: java.io.IOException: x\n\t\tat com.example.B.close(B.java:1)\n"
        "\tCaused by: java.io.EOFException\n"
        "Caused by: java.lang.IllegalStateException: y\n\tat com.example.C.c(C.java:1)\n\t... 3 more\n"
        "Caused by: java.net.SocketException\n\tat com.example.D.d(D.java:1)\n\t... 4 more",
        "java.lang.RuntimeException\njava.net.SocketException\ncom.example.A.a\ncom.example.C.c\ncom.example.D.d",
    ),
    "lambdas, anonymous classes, accessors and coroutines without their numbers": (
        "java.lang.Error\n\tat com.example.A$$Lambda$12/0x0000000800c0.run(Unknown Source:2)\n"
        "\tat com.example.A$$ExternalSyntheticLambda3.run(Unknown Source:2)\n"
        "\tat com.example.-$$Lambda$Main$x7Ks0u1f9_0VJk.run(lambda)\n\tat com.example.A.lambda$go$3(A.java:2)\n"
        "\tat com.example.A.access$000(A.java:2)\n\tat com.example.A$1.run(A.java:2)\n"
        "\tat com.example.A$load$2.invokeSuspend(A.kt:88)\n\tat _COROUTINE._BOUNDARY._(CoroutineDebugging.kt:46)\n"
        "\tat kotlinx.coroutines.DispatchedTask.run(DispatchedTask.kt:1)",
        "java.lang.Error\n\ncom.example.A$$Lambda.run\ncom.example.A$$ExternalSyntheticLambda.run"
        "\ncom.example.$$Lambda.run\ncom.example.A.lambda$go$\ncom.example.A.access$\ncom.example.A$.run"
        "\ncom.example.A$load$.invokeSuspend",
    ),
    "obfuscated names": ("a.b.c: x\n\tat d2.a$b.run(SourceFile:1)", "a.b.c\n\nd2.a$b.run"),
    "each frame once, eight at most": (
        "java.lang.StackOverflowError\n" + "\n".join(f"\tat x.Y.f{n // 2}(Y.java:{n})" for n in range(40)),
        "java.lang.StackOverflowError\n\n" + "\n".join(f"x.Y.f{n}" for n in range(8)),
    ),
    "a signal, modules and symbols without where they lie": (
        "*** *** ***\nRevision: '0'\npid: 7, tid: 9, name: x  >>> com.example <<<\n"
        "signal 11 (SIGSEGV), code 1 (SEGV_MAPERR), fault addr 0x10\nbacktrace:\n"
        "      #00 pc 00000000000aee48  /apex/com.android.runtime/lib64/bionic/libc.so (abort+164)"
        " (BuildId: 8d1f0b2c)\n"
        "      #01 pc 0000000000031a44  /data/app/~~Zx_9-aQ1==/com.example-aa==/base.apk!libgame.so (offset 0x100)"
        " (std::vector<int>::at(int)+60)\n"
        "      #02 pc 0000000000031a44  /data/app/~~Zx_9-aQ1==/com.example-aa==/lib/arm64/libgame.so\n"
        "      #03 pc <ADDR>  /system/priv-app/Home/Home.apk!libhome.so (home::draw()+0x1c)\n"
        "      #04 pc 0000000000031a44  /data/app/~~Zx==/com.example/oat/arm64/base.odex (com.example.A$1.run+12)\n"
        "--- --- --- --- ---\n"
        "      #00 pc 0000000000031a44  /data/app/~~Zx==/com.example/lib/arm64/libother.so (wait+60)",
        "SIGSEGV\n\nlibgame.so std::vector<int>::at(int)\nlibgame.so \nlibhome.so home::draw()"
        "\nbase.odex com.example.A$.run",
    ),
    "the main thread of one that does not respond": (
        'ANR in com.example\n"Signal Catcher" daemon prio=5 tid=3\n  at com.other.X.y(X.java:1)\n\n'
        '"main" prio=5 tid=1 Blocked\n  | group="main" sCount=1\n  at com.example.Db.get(Db.java:12)\n'
        "  - waiting to lock <0x0a> held by thread 12\n  at com.example.Db$1.run(Db.java:14)\n\n"
        '"pool-1" prio=5 tid=12\n'
        "  at com.example.Pool.run(Pool.java:1)",
        "ANR\n\ncom.example.Db.get\ncom.example.Db$.run",
    ),
    "a script": (
        "TypeError: undefined is not a function\n    at Object.<anonymous> (/Users/<USER>/app/src/List.tsx:12:14)\n"
        "    at async render (webpack:///./src/a.js:1:2)\n    at C:\\Users\\<USER>\\bundle.js:4:9\n"
        "    at run (/x/node_modules/react/index.js:1:2)",
        "TypeError\n\nList.tsx Object.<anonymous>\na.js render\nbundle.js ",
    ),
    "Dart": (
        "Unhandled Exception:\n#0      _App.build (package:app/main.dart:12:34)\n"
        "#1      Element.build (package:flutter/src/widgets/framework.dart:4870:27)\n"
        "#2      _rootRun (dart:async/zone.dart:1390:13)",
        "\n\npackage:app/main.dart _App.build",
    ),
    "a trace that logcat wrote, at the level of each of its lines": (
        "05-17 10:01:02.123  1234  1250 E AndroidRuntime: FATAL EXCEPTION: main\n"
        "05-17 10:01:02.123  1234  1250 E AndroidRuntime: Process: com.example, PID: 1234\n"
        "05-17 10:01:02.123  1234  1250 E AndroidRuntime: java.lang.RuntimeException: Unable to start\n"
        "05-17 10:01:02.124  1234  1250 E AndroidRuntime: \tat com.example.A.a(A.java:1)\n"
        "2026-05-17 10:01:02.124+0200  1000  1234  1250 E AndroidRuntime: Caused by: java.io.EOFException: y\n"
        "E/AndroidRuntime( 1234): \tat com.example.B.b(B.java:1)\n"
        "05-17 10:01:02.124 E/AndroidRuntime(1234): \tat com.example.C.c(Native Method)\n"
        "E/AndroidRuntime: \tat com.example.D.d(Unknown Source:2)",
        "java.lang.RuntimeException\njava.io.EOFException\ncom.example.A.a\ncom.example.B.b\ncom.example.C.c\ncom.example.D.d",
    ),
    "a tombstone that logcat wrote": (
        "05-17 10:01:02.123  1234  1250 F DEBUG   : signal 6 (SIGABRT), code -1 (SI_QUEUE)\n"
        "05-17 10:01:02.123  1234  1250 F DEBUG   : backtrace:\n"
        "05-17 10:01:02.123  1234  1250 F DEBUG   :       #00 pc 00000000000aee48  /apex/x/libc.so (abort+164)\n"
        "05-17 10:01:02.123  1234  1250 F DEBUG   :       #01 pc 0000000000031a44  /data/app/libgame.so (draw+60)",
        "SIGABRT\n\nlibgame.so draw",
    ),
    "no line of a message that begins as a frame does": (
        "java.lang.IllegalStateException: seen\n\tat home with Ada 12:30\n  at 21:15:10\n  at Ada (12:30)\n"
        "  at Ada (12:30:15)\n"
        "\tat example.org:443\n at https://example.org:443\n  at ada.lovelace(hunter)\n  at ada (the pub)\n"
        "\tat com.example.A.a(A.java:1)",
        "java.lang.IllegalStateException\n\ncom.example.A.a",
    ),
    "every way to say where a frame is in its source": (
        "java.lang.Error\n\tat com.example.A.a(A.kt)\n\tat com.example.B.b(SourceFile)\n\tat com.example.C.c(:12)\n"
        "\tat com.example.D.d(<generated>)\n\tat com.example.E.e(r8-map-id-0a1b:7)\n"
        "\tat com.example.F.f(F.java:-1) ~[app.jar:?]\n\tat app//com.example.G.g(Native method)",
        "java.lang.Error\n\ncom.example.A.a\ncom.example.B.b\ncom.example.C.c\ncom.example.D.d\ncom.example.E.e"
        "\ncom.example.F.f\ncom.example.G.g",
    ),
    "a script's places without a name, and with more than one": (
        "Uncaught TypeError: x\n  at https://example.org/static/app.4f.js?v=3:1:22\n"
        "  at Proxy.get all [as items] (index.android.bundle:1:9)\n  at get all [as items] (b.mjs:1:9)\n"
        "  at render (address at /x/main.jsbundle:1:9)\n  at run (blob:0a/b1:2:3)",
        "TypeError\n\napp.4f.js \nb.mjs get all [as items]\nmain.jsbundle render\nb1 run",
    ),
    "what is in no known format is its own": ("what?\nis this", "what?\nis this"),
    "nothing": ("", ""),
}


def groups(*traces, exceptions=None):
    return crash_groups(
        pa.array(traces, pa.string()), pa.array(exceptions or [None] * len(traces), pa.string())
    ).to_pylist()


def bare(*traces, exceptions=None):
    traces = pa.array(traces, pa.string())
    exceptions = pa.array(exceptions or [None] * len(traces), pa.string())
    return bare_groups(crash_groups(traces, exceptions), traces).to_pylist()


@pytest.mark.clause("1.1.2-log")
@pytest.mark.parametrize("shown", KEYS)
def test_the_key_of_a_trace(shown):
    trace, key = KEYS[shown]
    assert groups(trace) == [key]


def test_all_traces_together_are_as_each_alone():
    traces = [None, *(trace for trace, _ in KEYS.values()), None]
    assert groups(*traces) == [None, *(key for _, key in KEYS.values()), None]
    assert crash_groups(pa.array(traces).slice(2, 3), pa.nulls(3, pa.string())).to_pylist() == groups(*traces[2:5])
    assert groups() == []


def test_a_trace_without_a_class_has_that_of_the_exception_beside_it():
    frames = "\tat com.example.A.a(A.java:1)"
    assert groups(
        frames, frames, "x.Y: z\n" + frames, exceptions=["java.io.IOException: b", None, "java.lang.Error"]
    ) == [
        "java.io.IOException\n\ncom.example.A.a",
        "\n\ncom.example.A.a",
        "x.Y\n\ncom.example.A.a",
    ]


WORDS = st.text(alphabet="abc0189 .'-_@=", max_size=20)


@st.composite
def two_devices(draw):
    """One crash as two devices tell of it: with values, lines, addresses and places of their own."""
    template = draw(st.sampled_from([crash.trace for crash in CRASHES]))

    def told():
        line, address = draw(st.integers(1, 99_999)), draw(st.integers(0, 0xFFFFFFFF))
        known = {"line": str(line), "pc": f"{address:08x}"}
        return re.sub(r"\{(\w+)\}", lambda place: known.get(place[1]) or draw(WORDS), template)

    return told(), told()


@settings(max_examples=60, deadline=None)
@given(two_devices())
def test_one_crash_on_two_devices_is_one_group(traces):
    clean = Scrubber().scrub(pa.array(traces))[0].to_pylist()
    for one, other in (groups(*clean), bare(*clean)):
        assert one == other is not None


def test_different_crashes_are_different_groups():
    traces = [trace for trace, _ in KEYS.values()]
    assert len(set(groups(*traces))) == len(traces)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.none() | st.text(alphabet='at \n\t"#(:.)$A0bC-', max_size=40) | st.text(max_size=30), max_size=8))
def test_no_text_raises_and_none_changes_that_of_another(traces):
    assert groups(*traces) == [key for trace in traces for key in groups(trace)]
    assert [trace is None for trace in traces] == [key is None for key in groups(*traces)]


PREFIXES = (
    "05-17 10:01:02.123  1234  1250 E AndroidRuntime: ",
    "2026-05-17 10:01:02.123  1000  1234  1250 E AndroidRuntime: ",
    "2026-05-17 10:01:02.123+0200  1234  1250 F DEBUG   : ",
    "05-17 10:01:02.123 E/AndroidRuntime( 1234): ",
    "E/AndroidRuntime( 1234): ",
)


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("prefix", PREFIXES)
def test_what_logcat_writes_before_each_line_does_not_matter(prefix, unit):
    traces = [trace for shown, (trace, key) in KEYS.items() if trace != key and "logcat" not in shown]
    logged = coarsen(pa.array([prefix + trace.replace("\n", "\n" + prefix) for trace in traces]), unit)
    assert groups(*logged.to_pylist()) == groups(*coarsen(pa.array(traces), unit).to_pylist())


# --- bare ---

BARE = {
    "the topmost frames, where none is the application's": "android.os.DeadObjectException at "
    "android.os.BinderProxy.transact < android.os.Handler.dispatchMessage < com.android.internal.os.ZygoteInit.main",
    "the root cause, and nothing that was suppressed": "java.lang.RuntimeException caused by java.net.SocketException"
    " at com.example.A.a < com.example.C.c < com.example.D.d",
    "a signal, modules and symbols without where they lie": "SIGSEGV at libgame.so std::vector<int>::at(int)"
    " < libgame.so < libhome.so home::draw() < base.odex com.example.A$.run",
    "a script": "TypeError at List.tsx Object.<anonymous> < a.js render < bundle.js",
    "Dart": "package:app/main.dart _App.build",
    "what is in no known format is its own": None,
    "nothing": None,
}


@pytest.mark.clause("1.1.4-b")
@pytest.mark.parametrize("shown", BARE)
def test_a_bare_group_is_the_key_on_one_line(shown):
    assert bare(KEYS[shown][0]) == [BARE[shown]]


@pytest.mark.clause("1.1.4-b")
@pytest.mark.parametrize(
    "trace",
    [
        "the card of Ada was refused",
        "refused\n\nAda",  # as a key is written
        "java.lang.Error: no frame follows",
        "java.lang.Error\n\nAda",
        "SIGSEGV\n\n#00 pc Ada",
        "signal 6 (SIGABRT)\nAbort message: 'of Ada'",
        "java.lang.Error: x\n\tat home with Ada (12:30)",
        "java.lang.Error\n #00 pc 00aee48  /data/app/libgame.so (draw\x1b[31m(int)+4)",
        "java.lang.Error\n #00 pc 00aee48  /data/app/libgame.so (draw\u202e(int)+4)",
        None,
    ],
)
def test_what_has_no_form_or_does_not_print_has_no_bare_group(trace):
    assert bare(trace) == bare(trace, exceptions=["java.io.IOException: of Ada"]) == [None]


PROSE = st.text(alphabet="Ada 0189:.-@/,", max_size=30)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["\tat ", "  at ", "at ", "", "#0 "]), PROSE), max_size=5))
def test_no_line_of_a_message_is_in_a_bare_group(lines):
    message = "\n".join(["of Ada", *(begin + prose for begin, prose in lines)])
    assert bare(f"java.lang.IllegalStateException: {message}\n\tat com.example.A.a(A.java:1)") == [
        "java.lang.IllegalStateException at com.example.A.a"
    ]


def test_a_bare_group_tells_groups_apart_and_is_not_long():
    traces = [trace for trace, _ in KEYS.values()]
    known = [group for group in bare(*traces) if group is not None]
    assert len(set(known)) == len(known) == len(traces) - 3
    symbol = "std::map<" * 400
    (long,) = bare(f"signal 11 (SIGSEGV)\n #00 pc 00aee48  /data/app/libgame.so ({symbol}+4)")
    assert long.startswith("SIGSEGV at libgame.so std::map<") and len(long) == 1_000


@settings(max_examples=100, deadline=None)
@given(st.text(alphabet='at \n\t"#(:.)$A0bC-', max_size=60) | st.text(max_size=30))
def test_no_bare_group_is_a_text_or_has_lines(trace):
    (group,) = bare(trace)
    assert group is None or (group.isprintable() and group != trace)


def test_a_trace_has_the_same_group_before_it_is_made_coarse_and_after():
    traces = pa.array([trace.text for trace in clean_traces() if "\n" in trace.text])
    none = pa.nulls(len(traces), pa.string())
    before, after = crash_groups(traces, none).to_pylist(), crash_groups(coarsen(traces), none).to_pylist()
    known = [(b, a) for b, a, text in zip(before, after, traces.to_pylist(), strict=True) if b != text]
    assert len(known) > 20 and [pair for pair in known if pair[0] != pair[1]] == []
