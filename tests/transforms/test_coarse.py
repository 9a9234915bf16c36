import time
from datetime import datetime, timedelta

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.strategies import unhurried
from tests.transforms.test_scrub import CLEAN
from transforms.coarse import UNITS, coarsen

# (as it is written, to the day, to the hour)
MOMENTS = [
    ("10-17 09:31:07.123 x", "10-17 x", "10-17 09h x"),
    ("Timestamp: 2026-10-17 09:31:07.123456789+0200", "Timestamp: 2026-10-17", "Timestamp: 2026-10-17 09h"),
    ("at 2026-10-17T09:31:07.123Z,", "at 2026-10-17,", "at 2026-10-17 09h,"),
    ("2026/10/17 09:31:07 [error]", "2026/10/17 [error]", "2026/10/17 09h [error]"),
    (
        "----- pid 1 at 2026-10-17 09:31:07 -----",
        "----- pid 1 at 2026-10-17 -----",
        "----- pid 1 at 2026-10-17 09h -----",
    ),
    ("[17/Oct/2026:09:31:07 +0200] GET", "[17/Oct/2026] GET", "[17/Oct/2026 09h] GET"),
    ("Sat, 17 Oct 2026 07:31:07 GMT;", "Sat, 17 Oct 2026;", "Sat, 17 Oct 2026 07h;"),
    ("Sat Oct 17 09:31:07 GMT+02:00 2026", "Sat Oct 17 2026", "Sat Oct 17 09h 2026"),
    ("Oct  7 09:31:07 host", "Oct  7 host", "Oct  7 09h host"),
    ("[2026.10.17-07.31.07:123]Log", "[2026.10.17]Log", "[2026.10.17 07h]Log"),
    ("IMG_20261017_093107.jpg", "IMG_20261017.jpg", "IMG_20261017 09h.jpg"),
    ("1017/093107.123456:ERROR", "1017:ERROR", "1017 09h:ERROR"),
    ("took until 09:31:07.5", "took until <TIME>", "took until <TIME>"),
    ("from 9:31 AM to 2:05:07.5 pm (1:07 p.m)", "from <TIME> to <TIME> (<TIME>)", "from <TIME> to <TIME> (<TIME>)"),
    ("frame 09:31:07:12 of it", "frame <TIME>:12 of it", "frame <TIME>:12 of it"),
    ("[12345.678901] binder", "[<TIME>] binder", "[<TIME>] binder"),
    ('{"timestamp":1729153867123}', '{"timestamp":1729123200000}', '{"timestamp":1729152000000}'),
    ("created_at = 1729153867", "created_at = 1729123200", "created_at = 1729152000"),
    ("ts: 1729153867123456", "ts: 1729123200000000", "ts: 1729152000000000"),
    ("Process uptime: 123456s", "Process uptime: 86400s", "Process uptime: 122400s"),
    (
        "Uptime: 91234567 Realtime: 91234567",
        "Uptime: 86400000 Realtime: 86400000",
        "Uptime: 90000000 Realtime: 90000000",
    ),
]

# The same, to the day alone.
TIMES = [
    ("Sat Oct 17 09:31:07 CEST 2026", "Sat Oct 17 2026"),
    ("Oct 17, 2026, 9:31:07 PM done", "Oct 17, 2026 done"),
    ("17-Oct-2026 09:31 reboot", "17-Oct-2026 reboot"),
    ("17.10.2026 09:31:07 start", "17.10.2026 start"),
    ("2026-10-17 09:31:07,123 WARN", "2026-10-17 WARN"),
    ("from 2026-10-17 09:31:07.801 to 2026-10-17 09:31:14.012", "from 2026-10-17 to 2026-10-17"),
    ("2026-10-17 09:31:07 10:20:30 twice", "2026-10-17 twice"),
    ("2026-10-17T09:31:07.123+02:00", "2026-10-17"),
    ("VID_20261017_093107_1.mp4", "VID_20261017.mp4"),
    ("anr_2026-10-17-09-31-07-123", "anr_2026-10-17"),
    ("<6>[  131.004221] healthd: battery l=81", "<6>[<TIME>] healthd: battery l=81"),
    ("[ro.build.date.utc]: [1602927068]", "[ro.build.date.utc]: [1602892800]"),
]

ADDRESSES = [
    ("code 1 (SEGV_MAPERR), fault addr 0x7b3f2a1000", "code 1 (SEGV_MAPERR), fault addr <ADDR>"),
    ("    x0  0000000000000010  x1  0000007fd5a0a2c8", "    x0  0000000000000010  x1  <ADDR>"),
    ("    r0 a0b1c2d3  r1 00000000  pc b6f2a1d0", "    r0 <ADDR>  r1 00000000  pc <ADDR>"),
    ("      #02 pc 0000007a1b2c3d4e  <unknown>", "      #02 pc <ADDR>  <unknown>"),
    (
        "  0000007a'1b2c3000-0000007a'1b2c4fff r-x  0 2000  /system/lib64/libc.so",
        "  <ADDR>-<ADDR> r-x  0 2000  /system/lib64/libc.so",
    ),
    (
        "7f1234500000-7f1234521000 r-xp 00000000 fd:00 1234 /system/lib/libm.so",
        "<ADDR>-<ADDR> r-xp 00000000 fd:00 1234 /system/lib/libm.so",
    ),
    ("MainActivity@4f2a1c9 leaked", "MainActivity@<ADDR> leaked"),
    ("ActivityRecord{de9231d u0 com.foo/.Bar}", "ActivityRecord{<ADDR> u0 com.foo/.Bar}"),
    ("- locked <0x0a1b2c3d> (a java.lang.Object)", "- locked <ADDR> (a java.lang.Object)"),
    ("handle=0x7b9c1a4ed0 stack at 0x7b9c1a4e", "handle=<ADDR> stack at <ADDR>"),
    ("x29: ffffffc012a3bb20", "x29: <ADDR>"),
    ("    0000007fd5a0a2c0 6f6e2e656c706d61 0736574006574111  ample.note.tes..", "    <ADDR>"),
    ("  #06 pc 0000000000001234  <anonymous:7a1b2c3000>", "  #06 pc 0000000000001234  <anonymous:<ADDR>>"),
    ("StandaloneCoroutine{Cancelling}@bd3f012, x", "StandaloneCoroutine{Cancelling}@<ADDR>, x"),
    ("[B@1a2b3c4 and Lcom.Foo;@1a2b3c4", "[B@<ADDR> and Lcom.Foo;@<ADDR>"),
    ("isolate_dso_base: 7a1b200000, vm_instructions: 7a1b2b0000", "isolate_dso_base: <ADDR>, vm_instructions: <ADDR>"),
]

IDS = [
    ("10-17 09:31:07.123  1000  1523  1789 I Tag: pid 1789", "10-17  1  2  3 I Tag: pid 3"),
    ("10-17 09:31:07.123  1523  1789 I Tag: x", "10-17  1  2 I Tag: x"),
    ("2026-10-17 09:31:07.123+0200  1523  1789 I Tag: x", "2026-10-17  1  2 I Tag: x"),
    ("The user 10217 and user 1010217 of user 10", "The user <UID> and user <UID> of user 10"),
    ("Process: com.example, PID: 24313", "Process: com.example, PID: 1"),
    ("pid: 24313, tid: 24377, name: Thread-24377", "pid: 1, tid: 2, name: Thread-2"),
    ("uid=10217 sysTid=24313 uid=10217", "uid=1 sysTid=2 uid=1"),
    ("W/System.err(24313): in main(24313) and main(7)", "W/System.err(1): in main(1) and main(2)"),
    ("Killing 24313:com.example/u0a217 (adj 900): u0a217", "Killing 1:com.example/u0a2 (adj 900): u0a2"),
    ("[24313:24377:1017/093107.123456:ERROR:a.cc(12)]", "[1:2:1017:ERROR:a.cc(12)]"),
    ("am_proc_bound: [0,24313,com.example.notes]", "am_proc_bound: [0,1,com.example.notes]"),
    ("am_crash: [24313,0,com.example.notes,953695814,x]", "am_crash: [1,0,com.example.notes,953695814,x]"),
    ("Forked child process 24313", "Forked child process 1"),
    ("Process 24313 exited due to signal 9", "Process 1 exited due to signal 9"),
    ("- waiting to lock a monitor held by thread 12", "- waiting to lock a monitor held by thread 1"),
    ("key: 0|com.example.notes|1001|null|10217", "key: 0|com.example.notes|1001|null|1"),
    ("[  123.456789] binder: 1523:1789 failed 29189/-22", "[<TIME>] binder: 1:2 failed 29189/-22"),
    (
        "Killing 'mple.notes' (24313), adj 900, on behalf of 'kswapd0' (98)",
        "Killing 'mple.notes' (1), adj 900, on behalf of 'kswapd0' (2)",
    ),
    ("2026/10/17 09:31:07 [error] 1123#1124: *4411 x", "2026/10/17 [error] 1#2: *4411 x"),
    ("==24313==ERROR: AddressSanitizer", "==1==ERROR: AddressSanitizer"),
    ("ProcessRecord{4f2a1c9 24313:com.example/u0a217}", "ProcessRecord{<ADDR> 1:com.example/u0a2}"),
    ("memory near x1 ([anon:stack_and_tls:24377]):", "memory near x1 ([anon:stack_and_tls:1]):"),
    ("open /proc/24313/task/24377/comm", "open /proc/1/task/2/comm"),
    ('callingUid=10217 sysTid=7 "main" prio=5 tid=1', 'callingUid=1 sysTid=2 "main" prio=5 tid=3'),
    ('{"pid":24313,"thread_id": 24377}', '{"pid":1,"thread_id": 2}'),
    ("pool-3-thread-12 waits for Binder:1523_2", "pool-1-thread-2 waits for Binder:3_2"),
]

# What a trace is read for.
KEPT = [
    "signal 11 (SIGSEGV), code 1 (SEGV_MAPERR), fault addr 0x0000000000000010",
    "      #00 pc 00000000000aee48  /apex/com.android.runtime/lib64/libc.so (abort+164) (BuildId: 8d1f0b2c7e6a)",
    "      #01 pc 000aee48  /vendor/lib/hw/android.hardware.graphics.mapper@2.0-impl.so (offset 0x1000)",
    "android.hardware.camera.provider@2.4::ICameraProvider/internal/0",
    "\tat com.example.notes.ui.LoginActivity.onCreate(LoginActivity.kt:112)",
    "app version 8.20.1.0 on MIUI V14.0.3.0.TKBEUXM, flg=0x10000000, id #0x7f0a0123, error 0x80070005",
    "commit 2f9a1c0d8b7e6f5a4b3c2d1e0f9a8b7c6d5e4f30 took 1729153867123 ms, Vsync=71234567890123",
    "GC freed 1234567(45MB) AllocSpace objects, paused 152us total 101.234ms, index.js:12:34",
    "context 0x0 version 3.2 V@0615.50 (GIT@f1a2b3c, I1234567)",
    "local class incompatible: stream classdesc serialVersionUID = 5541230, local = 77",
    "FrameTimelineVsyncId=9912345, InputEventId=0, uuid: 5, rapid: 3, gridId=4, bid 7",
    'frames { pc: 0x31a44 function: "decode_row" offset: 60 }',
    "Thread 12 (crashed)",
    "sha1 5A:3B:9C:00:11:22:33:44:55:66:77:88, ratio 16:9, main.js:1:48213",
    "SHA1: 21:40:09:25:AB:CD:21:40:09:25:AB:CD:21:40:09:25:AB:CD:01:02 (21:40:09:25:ab:cd:ef:01), 3:2 am",
    "took 123ms, Slow operation: 91ms so far, +1s234ms, duration=1843ms, timeout 10000",
    "display 4630946213010294403, sensor 0x5f6d6167, features 0x1fe1f",
    "contact <EMAIL>, <DEVICE_ID> at <IP>, retry in 12:30",
]

FRAGMENTS = [line for case in (*MOMENTS, *TIMES, *ADDRESSES, *IDS) for line in case] + KEPT + CLEAN
TEXTS = st.lists(st.sampled_from([*FRAGMENTS, "\n", " ", "0", "9", ":", "-", "@", "0x", "\x04", "é"]), max_size=8).map(
    "".join
)


def coarse(*texts, unit="day"):
    return coarsen(pa.array(texts, pa.string()), unit).to_pylist()


@pytest.mark.parametrize(("text", "day", "hour"), MOMENTS)
def test_times_are_cut_to_the_unit_and_keep_their_form(text, day, hour):
    assert coarse(text) == [day] and coarse(text, unit="hour") == [hour]


@pytest.mark.parametrize(("text", "expected"), TIMES + ADDRESSES + IDS)
def test_what_singles_out_a_run_is_gone(text, expected):
    assert coarse(text) == [expected]


@pytest.mark.parametrize("line", KEPT)
def test_what_a_trace_is_read_for_stays(line):
    assert coarse(line, line, unit="hour") == [line, line]


def test_ordinals_count_within_a_text_from_its_first_id():
    texts = ["PID: 7\ntid: 9\npid=7", "pid: 9 tid: 7", None, "", "none"]
    assert coarse(*texts) == ["PID: 1\ntid: 2\npid=1", "pid: 1 tid: 2", None, "", "none"]


@unhurried
@given(st.lists(TEXTS | st.none(), max_size=6), st.sampled_from(list(UNITS)))
@example(["Forked child process 2431317-Oct-2026 09:31 reboot"], "day")
@example(["The user 10217 and user 1010217 of user 10, PID: 24313"], "day")
def test_coarsening_twice_changes_nothing(texts, unit):
    once = coarse(*texts, unit=unit)
    assert coarse(*once, unit=unit) == once


FORMS = ["%m-%d %H:%M:%S", "%Y-%m-%d %H:%M:%S.%f", "%Y-%m-%dT%H:%M:%SZ", "%d/%b/%Y:%H:%M:%S", "%Y%m%d_%H%M%S"]


@pytest.mark.clause("1.1.2-log")
@unhurried
@given(st.datetimes(datetime(2001, 1, 1), datetime(2099, 1, 1)), st.sampled_from(FORMS), st.sampled_from(list(UNITS)))
def test_nothing_finer_than_the_unit_is_left_of_a_time(moment, form, unit):
    finer = moment.replace(minute=0, second=0, microsecond=0) + timedelta(minutes=7, seconds=8, microseconds=9)
    first, second = coarse(f"at {moment:{form}} x", f"at {finer:{form}} x", unit=unit)
    assert first == second
    if unit == "day":
        assert coarse(f"at {moment.replace(hour=5):{form}} x") == [first]


@unhurried
@given(st.lists(TEXTS | st.none(), min_size=1, max_size=6))
def test_neighbours_change_nothing(texts):
    assert coarse(*texts) == [alone for text in texts for alone in coarse(text)]


def test_sliced_and_empty_columns():
    assert coarse() == []
    sliced = coarsen(pa.array(["x", None, "pid 71", "y"]).slice(1, 2))
    sliced.validate(full=True)
    assert sliced.to_pylist() == [None, "pid 1"]


def test_an_unknown_unit_is_refused():
    with pytest.raises(KeyError):
        coarse("x", unit="minute")


@pytest.mark.parametrize(
    "unit", ["1", "0x", "pid 1 ", "09:31:07 ", "a@", "2026-", "x0 ", "time=1", "[", "\n10-17 ", "{"]
)
def test_the_time_is_linear_in_the_text(unit):
    took = []
    for size in (1 << 18, 1 << 20):
        texts = pa.array([unit * (size // len(unit))])
        start = time.process_time()
        coarsen(texts)
        took.append(time.process_time() - start)
    assert took[1] < 5 * took[0] + 0.2
