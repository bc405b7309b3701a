"""The built-in sample: rendered bicycles and motorcycles, for machines that cannot download photos.

They are drawings, not photos. Each depends only on its class, split and number."""

import io
import math
from functools import cache
from typing import Final

import numpy as np
from PIL import Image

from scones.data.dataset import Dataset, ProgressCallback, SourceError, Split, labelled_photo
from scones.data.sources.drawing import (
    Colour,
    Pen,
    Point,
    View,
    background,
    cloth,
    curve,
    foreground,
    gray,
    lacquer,
    shade,
    shadow,
    shoot,
    skin,
)

_BICYCLE_REAR: Final[Point] = (0.0, 0.0)
_BICYCLE_FRONT: Final[Point] = (1.0, 0.0)
_CRANK: Final[Point] = (0.42, -0.03)
_SEAT: Final[Point] = (0.30, 0.50)
_HEAD_LOW: Final[Point] = (0.84, 0.42)
_HEAD_HIGH: Final[Point] = (0.80, 0.56)


def draw_bicycle(pen: Pen, rng: np.random.Generator, *, ridden: bool) -> None:
    """Draw one bicycle, of a random make."""
    tube = rng.uniform(0.028, 0.05)
    radius = rng.uniform(0.30, 0.36)
    colour = lacquer(rng)
    for hub in (_BICYCLE_REAR, _BICYCLE_FRONT):
        _bicycle_wheel(pen, rng, hub, radius)
    if rng.random() < 0.45:
        _mudguards(pen, radius, gray(rng, 20, 200))
    _frame(pen, colour, tube, step_through=rng.random() < 0.3)
    _drive(pen, rng)
    _saddle(pen, gray(rng, 10, 90))
    _handlebar(pen, rng, gray(rng, 20, 200))
    if rng.random() < 0.25:
        _basket(pen, gray(rng, 60, 190))
    if ridden:
        _bicycle_rider(pen, rng)


def _bicycle_wheel(pen: Pen, rng: np.random.Generator, hub: Point, radius: float) -> None:
    steel, tyre = gray(rng, 120, 220), gray(rng, 10, 70)
    start = rng.uniform(0, math.pi)
    spokes = int(rng.integers(8, 15))
    for spoke in range(spokes):
        angle = start + spoke * 2 * math.pi / spokes
        pen.line([hub, (hub[0] + radius * math.cos(angle), hub[1] + radius * math.sin(angle))], 0.006, steel)
    pen.ring(hub, radius, rng.uniform(0.025, 0.05), tyre)
    pen.ring(hub, radius - 0.035, 0.01, steel)
    pen.disc(hub, 0.03, steel)


def _mudguards(pen: Pen, radius: float, colour: Colour) -> None:
    for hub, start, end in ((_BICYCLE_REAR, 0.25, 1.0), (_BICYCLE_FRONT, 0.3, 0.85)):
        angles = np.linspace(start * math.pi, end * math.pi, 9).tolist()
        reach = radius + 0.035
        pen.line([(hub[0] + reach * math.cos(a), hub[1] + reach * math.sin(a)) for a in angles], 0.02, colour)


def _frame(pen: Pen, colour: Colour, tube: float, *, step_through: bool) -> None:
    pen.line([_CRANK, _BICYCLE_REAR], tube * 0.7, colour)
    pen.line([_SEAT, _BICYCLE_REAR], tube * 0.6, colour)
    pen.line([_HEAD_LOW, (0.9, 0.25), _BICYCLE_FRONT], tube * 0.8, shade(colour, 0.8))
    pen.line([_CRANK, _SEAT], tube, colour)
    pen.line([_CRANK, _HEAD_LOW], tube, colour)
    if step_through:
        pen.line(curve(_HEAD_HIGH, (0.55, 0.12), (0.38, 0.18)), tube, colour)
    else:
        pen.line([_SEAT, _HEAD_HIGH], tube, colour)
    pen.line([_HEAD_LOW, _HEAD_HIGH], tube * 1.2, colour)


def _drive(pen: Pen, rng: np.random.Generator) -> None:
    steel = gray(rng, 50, 170)
    angle = rng.uniform(0, math.pi)
    reach = (0.17 * math.cos(angle), 0.17 * math.sin(angle))
    for side in (1, -1):
        end = (_CRANK[0] + side * reach[0], _CRANK[1] + side * reach[1])
        pen.line([_CRANK, end], 0.02, steel)
        pen.line([(end[0] - 0.05, end[1]), (end[0] + 0.05, end[1])], 0.025, gray(rng, 15, 60))
    pen.ring(_CRANK, 0.085, 0.02, steel)
    for height in (0.08, -0.08):
        pen.line([(_CRANK[0], _CRANK[1] + height), (_BICYCLE_REAR[0], height / 3)], 0.01, shade(steel, 0.6))


def _saddle(pen: Pen, colour: Colour) -> None:
    pen.line([_SEAT, (0.28, 0.6)], 0.025, (150, 150, 150))
    pen.shape([(0.14, 0.65), (0.2, 0.66), (0.4, 0.62), (0.41, 0.59), (0.3, 0.58), (0.16, 0.59)], colour)


def _handlebar(pen: Pen, rng: np.random.Generator, colour: Colour) -> None:
    stem = (0.785, 0.65)
    pen.line([_HEAD_HIGH, stem], 0.028, colour)
    kind = rng.integers(0, 3)
    if kind == 0:
        pen.line([stem, (0.9, 0.66), *curve((0.9, 0.66), (0.98, 0.56), (0.84, 0.5))], 0.028, colour)
    elif kind == 1:
        pen.line([stem, (0.8, 0.72), (0.62, 0.7)], 0.028, colour)
    else:
        pen.line([(0.72, 0.66), (0.86, 0.68)], 0.035, colour)


def _basket(pen: Pen, colour: Colour) -> None:
    pen.shape([(0.86, 0.62), (1.12, 0.64), (1.07, 0.42), (0.91, 0.42)], colour)
    for height in (0.48, 0.54, 0.6):
        pen.line([(0.89, height), (1.09, height)], 0.01, shade(colour, 0.6))


def _bicycle_rider(pen: Pen, rng: np.random.Generator) -> None:
    shirt, trousers, face = cloth(rng), cloth(rng), skin(rng)
    hip, shoulder = (0.30, 0.68), (rng.uniform(0.45, 0.6), rng.uniform(1.05, 1.2))
    for knee, foot in (((0.62, 0.46), (0.46, 0.12)), ((0.56, 0.34), (0.4, -0.2))):
        pen.line([hip, knee, foot], 0.1, trousers)
    pen.line([hip, shoulder], 0.19, shirt)
    pen.line([shoulder, (0.7, 0.86), (0.8, 0.72)], 0.07, shirt)
    head = (shoulder[0] + 0.08, shoulder[1] + 0.18)
    pen.disc(head, 0.1, face)
    if rng.random() < 0.5:
        pen.shape(
            [(head[0] - 0.12, head[1]), (head[0] - 0.06, head[1] + 0.12), (head[0] + 0.12, head[1] + 0.05)], shirt
        )


_MOTORCYCLE_REAR: Final[Point] = (0.0, 0.0)
_MOTORCYCLE_FRONT: Final[Point] = (1.0, 0.0)


def draw_motorcycle(pen: Pen, rng: np.random.Generator, *, ridden: bool) -> None:
    """Draw one motorcycle, of a random make: roadster, cruiser, sports machine or light trail machine."""
    make = rng.choice(["roadster", "cruiser", "sports", "trail"])
    light = make == "trail"
    radius = rng.uniform(0.27, 0.33) if light else rng.uniform(0.24, 0.3)
    tyre = rng.uniform(0.05, 0.08) if light else rng.uniform(0.08, 0.13)
    colour, steel = lacquer(rng), gray(rng, 90, 220)
    for hub in (_MOTORCYCLE_REAR, _MOTORCYCLE_FRONT):
        _motorcycle_wheel(pen, rng, (hub, radius), tyre)
    _fork(pen, steel, radius, high_guard=light)
    _engine(pen, rng, steel)
    _body(pen, rng, colour, light=light)
    _exhaust(pen, steel, raised=make in ("sports", "trail"))
    _front(pen, rng, colour, str(make))
    if ridden:
        _motorcycle_rider(pen, rng)


def _motorcycle_wheel(pen: Pen, rng: np.random.Generator, place: tuple[Point, float], tyre: float) -> None:
    hub, radius = place
    metal = gray(rng, 60, 200)
    start = rng.uniform(0, math.pi)
    spokes = int(rng.choice([5, 6, 12]))
    for spoke in range(spokes):
        angle = start + spoke * 2 * math.pi / spokes
        rim = (hub[0] + radius * math.cos(angle), hub[1] + radius * math.sin(angle))
        pen.line([hub, rim], 0.01 if spokes == 12 else 0.03, metal)
    pen.ring(hub, radius - tyre / 2, tyre, gray(rng, 8, 50))
    pen.disc(hub, rng.uniform(0.05, 0.1), metal)


def _fork(pen: Pen, steel: Colour, radius: float, *, high_guard: bool) -> None:
    pen.line([_MOTORCYCLE_FRONT, (0.78, 0.58)], 0.05, steel)
    reach = radius + (0.12 if high_guard else 0.03)
    angles = np.linspace(0.25 * math.pi, 0.75 * math.pi, 7).tolist()
    pen.line([(1 + reach * math.cos(a), reach * math.sin(a)) for a in angles], 0.035, shade(steel, 0.7))


def _engine(pen: Pen, rng: np.random.Generator, steel: Colour) -> None:
    block = shade(steel, rng.uniform(0.35, 0.75))
    pen.line([(0.42, 0.0), _MOTORCYCLE_REAR], 0.06, shade(block, 0.8))
    pen.shape([(0.3, -0.14), (0.68, -0.14), (0.72, 0.1), (0.62, 0.34), (0.36, 0.32), (0.27, 0.06)], block)
    for height in (0.14, 0.19, 0.24, 0.29):
        pen.line([(0.44, height), (0.68, height + 0.03)], 0.015, shade(steel, 1.1))
    pen.disc((0.42, -0.02), 0.09, shade(steel, 0.9))
    pen.line([(0.72, 0.5), (0.74, 0.1), (0.66, -0.14)], 0.04, shade(block, 0.6))


def _body(pen: Pen, rng: np.random.Generator, colour: Colour, *, light: bool) -> None:
    leather = gray(rng, 10, 70)
    height = 0.5 if light else rng.uniform(0.38, 0.46)
    tail = rng.uniform(-0.22, -0.08)
    pen.shape([(tail, height + 0.08), (0.45, height - 0.02), (0.45, height - 0.13), (0.05, height - 0.1)], leather)
    pen.shape([(tail - 0.04, height + 0.06), (0.1, height - 0.02), (0.0, height - 0.16)], shade(colour, 0.8))
    top = 0.56 if light else rng.uniform(0.58, 0.66)
    tank = [*curve((0.4, height - 0.05), (0.5, top + 0.06), (0.76, top - 0.05)), (0.74, 0.38), (0.45, 0.33)]
    pen.shape(tank, colour)
    pen.line(curve((0.45, height + 0.04), (0.54, top), (0.7, top - 0.06)), 0.02, shade(colour, 1.5))
    pen.line([_MOTORCYCLE_REAR, (0.14, 0.36)], 0.03, gray(rng, 100, 200))


def _exhaust(pen: Pen, steel: Colour, *, raised: bool) -> None:
    end = (-0.18, 0.26) if raised else (-0.22, -0.06)
    pen.line([(0.66, 0.12), (0.6, -0.12), (0.3, -0.14), (0.12, -0.1 if not raised else 0.06)], 0.04, steel)
    pen.line([(0.2, -0.1 if not raised else 0.04), end], 0.085, shade(steel, 1.15))


def _front(pen: Pen, rng: np.random.Generator, colour: Colour, make: str) -> None:
    dark = gray(rng, 15, 80)
    if make == "sports":
        pen.shape([(0.66, 0.6), (0.86, 0.72), (1.04, 0.5), (0.9, 0.24), (0.66, -0.06), (0.5, 0.0), (0.62, 0.3)], colour)
        pen.shape([(0.74, 0.64), (0.84, 0.76), (0.92, 0.64)], (90, 105, 115))
        pen.disc((0.97, 0.5), 0.05, (240, 235, 200))
        return
    grip = {"cruiser": (0.56, 0.86), "roadster": (0.62, 0.72), "trail": (0.66, 0.78)}[make]
    pen.line([(0.78, 0.58), (0.76, 0.72), grip], 0.035, dark)
    pen.disc((0.87, 0.56), 0.085, dark)
    pen.disc((0.9, 0.56), 0.065, (245, 240, 205))
    if make == "cruiser":
        pen.shape([(-0.2, 0.3), (0.1, 0.32), (0.12, 0.05), (-0.16, 0.08)], gray(rng, 15, 90))


def _motorcycle_rider(pen: Pen, rng: np.random.Generator) -> None:
    jacket, trousers, helmet = shade(cloth(rng), 0.7), gray(rng, 15, 110), lacquer(rng)
    hip, shoulder = (0.26, 0.56), (rng.uniform(0.36, 0.5), rng.uniform(0.95, 1.08))
    pen.line([hip, (0.6, 0.42), (0.46, -0.04)], 0.12, trousers)
    pen.line([hip, shoulder], 0.22, jacket)
    pen.line([shoulder, (0.58, 0.8), (0.68, 0.74)], 0.085, jacket)
    head = (shoulder[0] + 0.07, shoulder[1] + 0.19)
    pen.disc(head, 0.13, helmet if rng.random() < 0.8 else skin(rng))
    pen.line([(head[0] + 0.03, head[1] + 0.02), (head[0] + 0.12, head[1])], 0.05, (35, 40, 50))


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
        SourceError: a class that it cannot draw.
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
