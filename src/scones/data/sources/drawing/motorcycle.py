"""Draws a motorcycle: two thick wheels, engine, tank, seat, exhaust, fork, headlight; sometimes a rider."""

import math
from typing import Final

import numpy as np

from scones.data.sources.drawing.pen import Colour, Pen, Point, cloth, curve, gray, lacquer, shade, skin

_REAR: Final[Point] = (0.0, 0.0)
_FRONT: Final[Point] = (1.0, 0.0)


def draw_motorcycle(pen: Pen, rng: np.random.Generator, *, ridden: bool) -> None:
    """Draw one motorcycle, of a random make: roadster, cruiser, sports machine or light trail machine."""
    make = rng.choice(["roadster", "cruiser", "sports", "trail"])
    light = make == "trail"
    radius = rng.uniform(0.27, 0.33) if light else rng.uniform(0.24, 0.3)
    tyre = rng.uniform(0.05, 0.08) if light else rng.uniform(0.08, 0.13)
    colour, steel = lacquer(rng), gray(rng, 90, 220)
    for hub in (_REAR, _FRONT):
        _wheel(pen, rng, (hub, radius), tyre)
    _fork(pen, steel, radius, high_guard=light)
    _engine(pen, rng, steel)
    _body(pen, rng, colour, light=light)
    _exhaust(pen, steel, raised=make in ("sports", "trail"))
    _front(pen, rng, colour, str(make))
    if ridden:
        _rider(pen, rng)


def _wheel(pen: Pen, rng: np.random.Generator, place: tuple[Point, float], tyre: float) -> None:
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
    pen.line([_FRONT, (0.78, 0.58)], 0.05, steel)
    reach = radius + (0.12 if high_guard else 0.03)
    angles = np.linspace(0.25 * math.pi, 0.75 * math.pi, 7).tolist()
    pen.line([(1 + reach * math.cos(a), reach * math.sin(a)) for a in angles], 0.035, shade(steel, 0.7))


def _engine(pen: Pen, rng: np.random.Generator, steel: Colour) -> None:
    block = shade(steel, rng.uniform(0.35, 0.75))
    pen.line([(0.42, 0.0), _REAR], 0.06, shade(block, 0.8))
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
    pen.line([_REAR, (0.14, 0.36)], 0.03, gray(rng, 100, 200))


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


def _rider(pen: Pen, rng: np.random.Generator) -> None:
    jacket, trousers, helmet = shade(cloth(rng), 0.7), gray(rng, 15, 110), lacquer(rng)
    hip, shoulder = (0.26, 0.56), (rng.uniform(0.36, 0.5), rng.uniform(0.95, 1.08))
    pen.line([hip, (0.6, 0.42), (0.46, -0.04)], 0.12, trousers)
    pen.line([hip, shoulder], 0.22, jacket)
    pen.line([shoulder, (0.58, 0.8), (0.68, 0.74)], 0.085, jacket)
    head = (shoulder[0] + 0.07, shoulder[1] + 0.19)
    pen.disc(head, 0.13, helmet if rng.random() < 0.8 else skin(rng))
    pen.line([(head[0] + 0.03, head[1] + 0.02), (head[0] + 0.12, head[1])], 0.05, (35, 40, 50))
