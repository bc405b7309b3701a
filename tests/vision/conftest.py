"""What the tests of vision share."""

from collections.abc import Callable

import numpy as np
import pytest

from scones.vision.messages import Labelled


@pytest.fixture
def stripes() -> Callable[..., Labelled]:
    """A world that is easily learnt: lying (0) and standing (1) stripes and chequerboards (2), in any colour."""

    def make(count: int, size: int = 32, classes: int = 2, seed: int = 0) -> Labelled:
        rng = np.random.default_rng(seed)
        labels = np.arange(count) % classes
        rows, columns = np.indices((size, size)) // max(2, size // 8) % 2
        patterns = np.stack([rows, columns, rows ^ columns])[labels][..., None]
        low, high = rng.integers(0, 120, (count, 1, 1, 3)), rng.integers(130, 256, (count, 1, 1, 3))
        noisy = low + patterns * (high - low) + rng.normal(0, 15, (count, size, size, 3))
        return Labelled(noisy.clip(0, 255).astype(np.uint8), labels.astype(np.int64), classes)

    return make
