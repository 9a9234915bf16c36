import pyarrow as pa
import pyarrow.compute as pc
import re2
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import unhurried
from transforms.pieces import in_pieces, put_together

TEXTS = st.lists(st.text(alphabet="ab1 é", max_size=12), max_size=8)


@unhurried
@given(TEXTS)
def test_pieces_put_together_are_the_texts(texts):
    pieces, match = in_pieces(pa.array(texts, pa.string()), "[ab]+")
    assert put_together(pieces, pieces.values).to_pylist() == texts
    between, matches = (pieces.values.filter(pc.equal(match, each)).to_pylist() for each in (False, True))
    assert not [piece for piece in between if re2.search("[ab]", piece)]
    assert all(re2.fullmatch("[ab]+", piece) for piece in matches)
