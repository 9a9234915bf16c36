"""What a record itself must meet for a purpose, whatever anybody consented to."""

import numpy as np
import pytest

from schemas.layout import layout
from schemas.pack_files import load_pack
from tests.judged import judged_batch
from transforms.conditions import unmet

PACK = load_pack()
PLAN = layout(PACK)
ROWS = 400


def bit(name):
    return np.uint64(1 << list(PACK.purposes).index(name))


@pytest.fixture(scope="module")
def batch():
    return judged_batch(PACK, ROWS, 7)


def closed(batch, purpose, reason):
    return unmet(batch, PACK, PLAN)[reason] & bit(purpose) != 0


@pytest.mark.clause("1.1.3")
def test_a_source_feeds_the_purposes_that_admit_it_and_no_others(batch):
    partner = batch["source"].to_numpy() == 2
    assert partner.any() and not partner.all()
    assert (closed(batch, "operations", "source_not_admitted") == partner).all()
    assert not closed(batch, "personalised_ads", "source_not_admitted").any()


@pytest.mark.clause("2-adcookie")
def test_a_zeroed_advertising_id_closes_advertising_and_nothing_else(batch):
    zeroed = batch["zeroed"].to_numpy(zero_copy_only=False)
    assert zeroed.any() and not zeroed.all()
    masks = unmet(batch, PACK, PLAN)["opted_out"]
    assert (masks == np.where(zeroed, bit("personalised_ads"), np.uint64(0))).all()
