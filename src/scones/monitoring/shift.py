"""The deliberate shift: what a dirty lens at dusk does to a photo, to prove that the alarm rings."""

import io

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

from scones.data.decode import png


def darken_and_blur(photo: bytes, *, brightness: float = 0.55, blur_share: float = 1 / 32) -> bytes:
    """Give back *photo* as PNG bytes, darkened to *brightness* of its light and blurred.

    *blur_share* is the blur's radius as a share of the longer side, so large photos suffer as small ones do.

    Raises:
        PIL.UnidentifiedImageError: the bytes are no photo.
    """
    with Image.open(io.BytesIO(photo)) as opened:
        image = opened.convert("RGB")
    image = ImageEnhance.Brightness(image).enhance(brightness)
    image = image.filter(ImageFilter.GaussianBlur(max(image.size) * blur_share))
    return png(np.asarray(image))
