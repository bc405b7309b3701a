"""Draws a bicycle: two thin spoked wheels, a frame of tubes, saddle, handlebar, crank; sometimes a rider."""

import math
from typing import Final

import numpy as np

from scones.data.sources.drawing.pen import Colour, Pen, Point, cloth, curve, gray, lacquer, shade, skin

_REAR: Final[Point] = (0.0, 0.0)
_FRONT: Final[Point] = (1.0, 0.0)
_CRANK: Final[Point] = (0.42, -0.03)
_SEAT: Final[Point] = (0.30, 0.50)
_HEAD_LOW: Final[Point] = (0.84, 0.42)
_HEAD_HIGH: Final[Point] = (0.80, 0.56)


def draw_bicycle(pen: Pen, rng: np.random.Generator, *, ridden: bool) -> None:
    """Draw one bicycle, of a random make."""
    tube = rng.uniform(0.028, 0.05)
    radius = rng.uniform(0.30, 0.36)
    colour = lacquer(rng)
    for hub in (_REAR, _FRONT):
        _wheel(pen, rng, hub, radius)
    if rng.random() < 0.45:
        _mudguards(pen, radius, gray(rng, 20, 200))
    _frame(pen, colour, tube, step_through=rng.random() < 0.3)
    _drive(pen, rng)
    _saddle(pen, gray(rng, 10, 90))
    _handlebar(pen, rng, gray(rng, 20, 200))
    if rng.random() < 0.25:
        _basket(pen, gray(rng, 60, 190))
    if ridden:
        _rider(pen, rng)


def _wheel(pen: Pen, rng: np.random.Generator, hub: Point, radius: float) -> None:
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
    for hub, start, end in ((_REAR, 0.25, 1.0), (_FRONT, 0.3, 0.85)):
        angles = np.linspace(start * math.pi, end * math.pi, 9).tolist()
        reach = radius + 0.035
        pen.line([(hub[0] + reach * math.cos(a), hub[1] + reach * math.sin(a)) for a in angles], 0.02, colour)


def _frame(pen: Pen, colour: Colour, tube: float, *, step_through: bool) -> None:
    pen.line([_CRANK, _REAR], tube * 0.7, colour)
    pen.line([_SEAT, _REAR], tube * 0.6, colour)
    pen.line([_HEAD_LOW, (0.9, 0.25), _FRONT], tube * 0.8, shade(colour, 0.8))
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
        pen.line([(_CRANK[0], _CRANK[1] + height), (_REAR[0], height / 3)], 0.01, shade(steel, 0.6))


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


def _rider(pen: Pen, rng: np.random.Generator) -> None:
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
