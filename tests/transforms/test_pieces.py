import pyarrow as pa
import re2
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import unhurried
from transforms.pieces import in_pieces, put_together

TEXTS = st.lists(st.text(alphabet="ab1 é", max_size=12), max_size=8)


@unhurried
@given(TEXTS)
def test_pieces_put_together_are_the_texts(texts):
    pieces, form = in_pieces(pa.array(texts, pa.string()), "[ab]+", r"\0")
    assert put_together(pieces, pieces.values).to_pylist() == texts
    between, matches = (pieces.values.filter(pa.array(form == each)).to_pylist() for each in (0, 1))
    assert not [piece for piece in between if re2.search("[ab]", piece)]
    assert all(re2.fullmatch("[ab]+", piece) for piece in matches)


def test_each_form_of_a_match_is_a_piece():
    pieces, form = in_pieces(pa.array(["x12y", ""]), "([0-9])([0-9])", r"\2", r"\0")
    assert pieces.to_pylist() == [["x", "2", "12", "y"], [""]] and form.tolist() == [0, 1, 2, 0, 0]
