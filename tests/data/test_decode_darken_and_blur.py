"""The deliberate shift darkens and blurs."""

import io

import numpy as np
import pytest
from PIL import Image

from scones.data.decode import darken_and_blur
from scones.data.image_header import UnreadablePhoto


def png(pixels: np.ndarray) -> bytes:
    """Encode pixels."""
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, format="PNG")
    return out.getvalue()


def pixels_of(data: bytes) -> np.ndarray:
    """Decode pixels."""
    return np.asarray(Image.open(io.BytesIO(data)))


def test_a_shifted_photo_is_darker_softer_and_as_large() -> None:
    """Mean and fine detail fall; the size stays."""
    before = np.random.default_rng(0).integers(0, 256, (40, 32, 3), dtype=np.uint8)
    after = pixels_of(darken_and_blur(png(before)))
    assert after.shape == before.shape
    assert after.mean() < 0.6 * before.mean()
    assert (
        np.abs(np.diff(after.astype(float), axis=0)).mean() < 0.5 * np.abs(np.diff(before.astype(float), axis=0)).mean()
    )


def test_without_darkness_and_blur_the_photo_stays_the_same() -> None:
    """The shift does what its settings say, and no more."""
    before = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    assert (pixels_of(darken_and_blur(png(before), brightness=1, blur_share=0)) == before).all()


def test_what_is_no_photo_cannot_be_shifted() -> None:
    """Bytes that are no photo are an error."""
    with pytest.raises(UnreadablePhoto):
        darken_and_blur(b"no photo")
