"""Explanations page: each photo beside the places that decided it, and the training photos most like it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from scones.data.decode import decode, png
from scones.data.image_header import UnreadablePhoto
from scones.domain import VERSION
from scones.model.explanations import Explanation
from scones.reports.theme import class_colours, environment

_DRAWN_PIXELS = 224
_MAX_OPACITY = 0.65
# The classes' colors of style.css, in the same order.
_TINTS = ((26, 111, 176), (217, 115, 13), (123, 94, 167), (138, 109, 29), (194, 88, 143), (75, 127, 82))


@dataclass(frozen=True, slots=True)
class ExplainedPhoto:
    """A photo, as encoded bytes, with the prediction for it and its explanation; *truth* is empty if unknown."""

    name: str
    photo: bytes
    truth: str
    outcome: str
    confidence: float
    explanation: Explanation

    def overlay(self, classes: Sequence[str]) -> bytes | None:
        """Return the photo with its evidence drawn over it, as PNG; None without evidence or a readable photo."""
        found = self.explanation
        if found.evidence is None:
            return None
        supporting, opposing = (_TINTS[classes.index(name) % len(_TINTS)] for name in (found.label, found.runner_up))
        try:
            return png(draw_evidence(decode(self.photo, _DRAWN_PIXELS), found.evidence, supporting, opposing))
        except UnreadablePhoto:
            return None


def render_explanations(
    photos: Sequence[ExplainedPhoto], training_photos: Mapping[str, bytes], classes: Sequence[str], model_version: str
) -> str:
    """Render the page; *training_photos* are the encoded photos of the neighbors, by name, if they still exist."""
    return (
        environment()
        .get_template("explanations.html.j2")
        .render(
            photos=photos,
            training_photos=training_photos,
            classes=classes,
            colour_of=class_colours(classes),
            model_version=model_version,
            scones_version=VERSION,
        )
    )


def draw_evidence(
    photo: NDArray[np.uint8],
    evidence: NDArray[np.float64],
    supporting: tuple[int, int, int],
    opposing: tuple[int, int, int],
) -> NDArray[np.uint8]:
    """Tint a photo, uint8 [S, S, 3], in one color where *evidence* [G, G] is positive, in another where it is negative.

    The strongest place has the strongest tint.
    """
    side = len(photo)
    strength = evidence / (float(np.abs(evidence).max()) or 1.0)
    smooth = Image.fromarray(strength.astype(np.float32)).resize((side, side), Image.Resampling.BICUBIC)
    share = np.asarray(smooth, np.float64).clip(-1, 1)[:, :, None]
    opacity = _MAX_OPACITY * np.abs(share)
    mixed: NDArray[np.float64] = photo * (1 - opacity) + np.where(share > 0, supporting, opposing) * opacity
    return np.rint(mixed).astype(np.uint8)
