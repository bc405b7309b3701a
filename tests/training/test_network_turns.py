"""Photos are turned by what is said of them."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from scones.training.network import QUARTERS, turn


@given(photos=st.integers(0, 6), count=st.integers(0, 8), seed=st.integers(0, 2**31 - 1))
def test_turned_back_by_as_much_each_is_one_of_the_photos(photos: int, count: int, seed: int) -> None:
    """Each at most once; as many as were asked for, or as there are; and none is left upright."""
    given_ = torch.rand(photos, 3, 5, 5, generator=torch.Generator().manual_seed(seed))
    turned, quarters = turn(given_, count, torch.Generator().manual_seed(seed))
    assert len(turned) == len(quarters) == min(photos, count)
    assert all(1 <= number < QUARTERS for number in quarters.tolist())
    back = [torch.rot90(photo, -number, (1, 2)) for photo, number in zip(turned, quarters.tolist(), strict=True)]
    found = [[bool(torch.equal(photo, one)) for one in given_].index(True) for photo in back]
    assert len(set(found)) == len(found)


def test_every_turn_is_as_likely() -> None:
    """A third each, of many."""
    photos = torch.zeros(3000, 3, 2, 2)
    _, quarters = turn(photos, 3000, torch.Generator().manual_seed(0))
    assert (quarters.bincount(minlength=QUARTERS)[1:] / 3000).tolist() == pytest.approx([1 / 3] * 3, abs=0.03)
