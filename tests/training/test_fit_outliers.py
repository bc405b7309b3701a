"""Pictures of nothing are pictures, of several kinds."""

import torch

from scones.training.fit import make_up


def test_pictures_of_nothing_are_of_several_kinds() -> None:
    """Values 0 to 1; some plain, some smooth, some rough; the same again from the same chance."""
    pictures, again = (make_up(40, 24, torch.Generator().manual_seed(0)) for _ in range(2))
    assert pictures.shape == (40, 3, 24, 24)
    assert torch.equal(pictures, again)
    assert 0 <= pictures.min() <= pictures.max() <= 1
    steps = (pictures[:, :, 1:] - pictures[:, :, :-1]).abs().mean(dim=(1, 2, 3))
    assert (steps == 0).sum() >= 4
    assert ((steps > 0) & (steps < 0.03)).sum() >= 4
    assert (steps > 0.1).sum() >= 4
