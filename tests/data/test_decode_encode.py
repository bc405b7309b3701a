"""Pixels that are encoded come back."""

import numpy as np

from scones.data.decode import decode, png


def test_png_loses_nothing() -> None:
    """PNG gives back each pixel, of a photo that lies otherwise in memory too."""
    photo = np.random.default_rng(0).integers(0, 256, (20, 20, 3)).astype(np.uint8)
    assert (decode(png(photo), 20) == photo).all()
    assert (decode(png(photo[::-1]), 20) == photo[::-1]).all()
