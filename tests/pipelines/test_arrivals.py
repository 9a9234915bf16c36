import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.arrivals import arrived, read_arrived
from transforms.block import layout_of

MESSAGES = st.lists(st.tuples(st.text("ab\n", min_size=1).map(str.encode), st.integers(0, 3)))


@given(MESSAGES)
def test_each_line_keeps_the_receipt_of_its_message(messages):
    element = arrived([message for message, _ in messages], [time for _, time in messages])
    ((block, received),) = read_arrived(element)
    expected = [(line, time) for message, time in messages for line in message.removesuffix(b"\n").split(b"\n")]
    if not messages:
        assert (block, received) == (b"", None)
        return
    assert block.endswith(b"\n")
    assert list(zip(block.removesuffix(b"\n").split(b"\n"), received, strict=True)) == expected
    assert len(layout_of(block).ends) == len(received)


def test_receipts_are_packed_by_stretches():
    _, receipts = arrived([b"a\nb\n", b"c", b"d"], [5, 5, 6])
    assert np.frombuffer(receipts, "<i8").tolist() == [3, 5, 1, 6]


def test_lines_that_say_it_themselves():
    assert list(read_arrived((b"a\n", b""))) == [(b"a\n", None)]


def test_receipts_of_other_lines_are_refused():
    block, receipts = arrived([b"a", b"b"], [1, 2])
    with pytest.raises(ValueError, match="not those of its lines"):
        list(read_arrived((block + b"c\n", receipts)))
