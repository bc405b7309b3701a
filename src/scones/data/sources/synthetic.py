"""The built-in sample: rendered bicycles and motorcycles, for a machine that cannot reach real photos.

Drawings, never to be passed off as photos. Each depends on nothing but its class, split and number.
"""

import io
import math
from functools import cache
from typing import Final

import numpy as np
from PIL import Image

from scones.data.dataset import Dataset, ProgressCallback, SourceError, Split, labelled_photo
from scones.data.sources.drawing.bicycle import draw_bicycle
from scones.data.sources.drawing.motorcycle import draw_motorcycle
from scones.data.sources.drawing.pen import Pen, View, shoot
from scones.data.sources.drawing.scenery import background, foreground, shadow

SIDE_PIXELS: Final = 32
COUNTS: Final[dict[Split, int]] = {"train": 250, "test": 50}
"""How many pictures of each class are rendered for each split."""
_SCENE_PIXELS: Final = 6 * SIDE_PIXELS
_RIDDEN: Final = 0.25
_SEED: Final = 20_231
_DRAW: Final = {"bicycle": draw_bicycle, "motorcycle": draw_motorcycle}


def load_sample(classes: tuple[str, ...], progress: ProgressCallback) -> Dataset:
    """Render the sample of *classes*.

    Raises:
        SourceError: a class that nobody taught us to draw.
    """
    for label in classes:
        if label not in _DRAW:
            raise SourceError(f"the built-in sample has no class {label!r}; it has {' and '.join(_DRAW)}")
    wanted: list[tuple[Split, str, int]] = [
        (split, label, number) for split, count in COUNTS.items() for label in classes for number in range(count)
    ]
    photos = []
    for done, (split, label, number) in enumerate(wanted, start=1):
        photos.append(labelled_photo(f"{label}-{number:03}.png", label, split, _png(label, split, number)))
        progress(done, len(wanted), "rendering the sample")
    return Dataset("sample", "rendered", tuple(photos), classes)


@cache
def _png(label: str, split: Split, number: int) -> bytes:
    """Render one picture once, however many steps of a process collect the sample."""
    stream = io.BytesIO()
    render(label, split, number).save(stream, "png")
    return stream.getvalue()


def render(label: str, split: Split, number: int) -> Image.Image:
    """Render one picture, 32 x 32."""
    rng = np.random.default_rng([_SEED, list(_DRAW).index(label), list(COUNTS).index(split), number])
    ridden = bool(rng.random() < _RIDDEN)
    view = _view(rng, ridden=ridden)
    scene = background(_SCENE_PIXELS, rng)
    scene = shadow(scene, (view.middle[0], view.middle[1] + 0.52 * view.wheelbase), 0.8 * view.wheelbase)
    _DRAW[label](Pen(scene, view), rng, ridden=ridden)
    if rng.random() < 0.15:
        foreground(scene, rng)
    return shoot(scene, SIDE_PIXELS, rng)


def _view(rng: np.random.Generator, *, ridden: bool) -> View:
    turn = rng.uniform(0.75, 1.0) if rng.random() < 0.7 else rng.uniform(0.35, 0.75)
    # A rider needs room above the saddle.
    height, reach = (0.66, (0.32, 0.46)) if ridden else (0.52, (0.4, 0.62))
    middle = (0.5 + rng.normal(0, 0.04), height + rng.normal(0, 0.04))
    return View(
        middle=(middle[0] * _SCENE_PIXELS, middle[1] * _SCENE_PIXELS),
        wheelbase=rng.uniform(*reach) * _SCENE_PIXELS,
        turn=turn * rng.choice([-1, 1]),
        tilt=math.radians(rng.normal(0, 6)),
    )
