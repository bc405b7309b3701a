"""Synthetic source: bicycles and motorcycles drawn as seeded vector shapes in front of scenery."""

import colorsys
import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from scones.data.dataset import Dataset, ProgressCallback, SourceError, Split, labelled_photo

Point = tuple[float, float]
"""In a vehicle's coordinates: x from the rear hub (0) to the front hub (1), y upwards from the hubs."""
Colour = tuple[int, int, int]

_CIRCLE_POINTS = 40


@dataclass(frozen=True, slots=True)
class View:
    """The vehicle's place in the picture: the middle and the wheelbase in pixels, turned and tilted."""

    middle: Point
    wheelbase: float
    turn: float
    """1 from the side, towards 0 from the front; negative when it looks to the left."""
    tilt: float
    """In radians, as the camera was held."""


class Pen:
    """Draws lines, shapes and circles of a vehicle; widths are shares of the wheelbase."""

    def __init__(self, picture: Image.Image, view: View) -> None:
        self._draw = ImageDraw.Draw(picture)
        self._view = view

    def place(self, point: Point) -> Point:
        """Tell where a point of the vehicle lies in the picture."""
        view = self._view
        x, y = (point[0] - 0.5) * view.turn * view.wheelbase, (0.25 - point[1]) * view.wheelbase
        cos, sin = math.cos(view.tilt), math.sin(view.tilt)
        return view.middle[0] + x * cos - y * sin, view.middle[1] + x * sin + y * cos

    def line(self, points: Sequence[Point], width: float, colour: Colour) -> None:
        """Draw a line through *points*, with round ends."""
        placed, pixels = [self.place(point) for point in points], max(1, round(width * self._view.wheelbase))
        self._draw.line(placed, fill=colour, width=pixels, joint="curve")
        for x, y in (placed[0], placed[-1]):
            self._draw.ellipse((x - pixels / 2, y - pixels / 2, x + pixels / 2, y + pixels / 2), fill=colour)

    def shape(self, points: Sequence[Point], colour: Colour) -> None:
        """Fill the polygon with the corners *points*."""
        self._draw.polygon([self.place(point) for point in points], fill=colour)

    def disc(self, middle: Point, radius: float, colour: Colour) -> None:
        """Fill a circle, which is an ellipse when the vehicle is turned."""
        self.shape(circle(middle, radius), colour)

    def ring(self, middle: Point, radius: float, width: float, colour: Colour) -> None:
        """Draw a circle's line."""
        self.line(circle(middle, radius), width, colour)


def circle(middle: Point, radius: float) -> list[Point]:
    """Give points around a circle, the last equal to the first."""
    angles = np.linspace(0, 2 * math.pi, _CIRCLE_POINTS)
    return [(middle[0] + radius * math.cos(angle), middle[1] + radius * math.sin(angle)) for angle in angles]


def curve(start: Point, control: Point, end: Point) -> list[Point]:
    """Give points along a quadratic curve that bends towards *control*."""
    return [
        (
            (1 - t) ** 2 * start[0] + 2 * t * (1 - t) * control[0] + t**2 * end[0],
            (1 - t) ** 2 * start[1] + 2 * t * (1 - t) * control[1] + t**2 * end[1],
        )
        for t in np.linspace(0, 1, 9).tolist()
    ]


def lacquer(rng: np.random.Generator) -> Colour:
    """Pick a frame's or a tank's colour: often strong, sometimes black, white or silver."""
    if rng.random() < 0.35:
        return gray(rng, 15, 235)
    return hue(rng.random(), rng.uniform(0.5, 0.95), rng.uniform(0.35, 0.95))


def cloth(rng: np.random.Generator) -> Colour:
    """Pick a garment's colour."""
    return hue(rng.random(), rng.uniform(0.1, 0.7), rng.uniform(0.15, 0.85))


def skin(rng: np.random.Generator) -> Colour:
    """Pick a skin's colour, from dark to light."""
    return hue(rng.uniform(0.04, 0.08), rng.uniform(0.3, 0.6), rng.uniform(0.3, 0.95))


def gray(rng: np.random.Generator, low: int, high: int) -> Colour:
    """Pick a gray, not quite without colour, between *low* and *high* of 255."""
    level = int(rng.integers(low, high))
    red, green, blue = (int(part) for part in np.clip(level + rng.integers(-8, 9, 3), 0, 255))
    return red, green, blue


def hue(angle: float, saturation: float, value: float) -> Colour:
    """Give the colour of a hue, a saturation and a brightness, each 0 to 1."""
    red, green, blue = colorsys.hsv_to_rgb(angle % 1, saturation, value)
    return round(255 * red), round(255 * green), round(255 * blue)


def shade(colour: Colour, factor: float) -> Colour:
    """Darken (below 1) or lighten a colour."""
    red, green, blue = (min(255, round(part * factor)) for part in colour)
    return red, green, blue


def shoot(scene: Image.Image, side: int, rng: np.random.Generator) -> Image.Image:
    """Photograph a *scene*, which is several times too large, with *side* pixels a side."""
    half = scene.reduce(2)
    softness = float(rng.choice([0.15, 0.35, 0.7])) * half.width / side
    small = half.filter(ImageFilter.GaussianBlur(softness)).resize((side, side), Image.Resampling.BOX)
    light = np.asarray(small, dtype=np.float64) / 255
    light = light ** np.exp(rng.uniform(-0.35, 0.35)) * rng.uniform(0.75, 1.15, 1) * rng.uniform(0.93, 1.07, 3)
    haze = rng.uniform(0, 0.3) if rng.random() < 0.3 else 0.0
    light = light * (1 - haze) + rng.uniform(0.3, 0.8) * haze
    grain = rng.normal(0, rng.choice([0.01, 0.025, 0.05]), light.shape)
    return Image.fromarray((np.clip(light + grain, 0, 1) * 255).round().astype(np.uint8))


_Painter = Callable[[Image.Image, np.random.Generator], None]


def background(side: int, rng: np.random.Generator) -> Image.Image:
    """Paint a random place, *side* pixels a side."""
    picture = Image.new("RGB", (side, side))
    painters: tuple[_Painter, ...] = (_studio, _field, _street, _wall, _room)
    painters[int(rng.integers(len(painters)))](picture, rng)
    return picture


def shadow(picture: Image.Image, middle: tuple[float, float], reach: float) -> Image.Image:
    """Darken the ground below a vehicle."""
    mask = Image.new("L", picture.size, 0)
    box = (middle[0] - reach, middle[1] - reach / 9, middle[0] + reach, middle[1] + reach / 9)
    ImageDraw.Draw(mask).ellipse(box, fill=110)
    return Image.composite(Image.new("RGB", picture.size, (20, 20, 22)), picture, mask)


def foreground(picture: Image.Image, rng: np.random.Generator) -> None:
    """Put a pole, a bollard or some grass before the vehicle."""
    draw, side = ImageDraw.Draw(picture), picture.width
    colour = gray(rng, 40, 190)
    if rng.random() < 0.5:
        left = rng.uniform(0.1, 0.85) * side
        draw.rectangle((left, rng.choice([0, 0.5]) * side, left + rng.uniform(0.03, 0.08) * side, side), fill=colour)
        return
    for _ in range(60):
        x, height = rng.uniform(0, side), rng.uniform(0.05, 0.16) * side
        green = hue(rng.uniform(0.2, 0.36), 0.6, rng.uniform(0.25, 0.6))
        draw.line((x, side, x + rng.uniform(-8, 8), side - height), fill=green, width=3)


def _gradient(picture: Image.Image, box: tuple[float, float], top: Colour, bottom: Colour) -> None:
    start, end = (round(part * picture.height) for part in box)
    rows = np.linspace(top, bottom, max(1, end - start)).round().astype(np.uint8)
    strip = Image.fromarray(rows[:, None, :]).resize((picture.width, len(rows)), Image.Resampling.NEAREST)
    picture.paste(strip, (0, start))


def _studio(picture: Image.Image, rng: np.random.Generator) -> None:
    """A plain sheet, as in catalogues."""
    light = gray(rng, 170, 256) if rng.random() < 0.7 else cloth(rng)
    _gradient(picture, (0, 1), light, shade(light, rng.uniform(0.75, 1.0)))


def _field(picture: Image.Image, rng: np.random.Generator) -> None:
    horizon = rng.uniform(0.25, 0.65)
    blue = hue(rng.uniform(0.53, 0.62), rng.uniform(0.1, 0.5), rng.uniform(0.7, 1.0))
    green = hue(rng.uniform(0.14, 0.36), rng.uniform(0.3, 0.7), rng.uniform(0.25, 0.65))
    _gradient(picture, (0, horizon), blue, shade(blue, 1.15))
    _gradient(picture, (horizon, 1), green, shade(green, rng.uniform(0.7, 1.3)))
    draw, side = ImageDraw.Draw(picture), picture.width
    for _ in range(int(rng.integers(0, 7))):
        x, reach = rng.uniform(0, side), rng.uniform(0.05, 0.2) * side
        y = horizon * side - reach * 0.5
        draw.ellipse((x - reach, y - reach, x + reach, y + reach), fill=shade(green, rng.uniform(0.45, 0.9)))


def _street(picture: Image.Image, rng: np.random.Generator) -> None:
    kerb = rng.uniform(0.5, 0.78)
    _wall(picture, rng)
    draw, side = ImageDraw.Draw(picture), picture.width
    for _ in range(int(rng.integers(0, 4))):
        left, top = rng.uniform(-0.1, 0.9) * side, rng.uniform(0.0, 0.5) * side
        box = (left, top, left + rng.uniform(0.1, 0.4) * side, top + rng.uniform(0.1, 0.5) * side)
        draw.rectangle(box, fill=gray(rng, 20, 220), outline=gray(rng, 20, 220), width=3)
    asphalt = gray(rng, 60, 170)
    _gradient(picture, (kerb, 1), asphalt, shade(asphalt, rng.uniform(0.8, 1.15)))
    draw.rectangle((0, kerb * side, side, (kerb + 0.03) * side), fill=shade(asphalt, 1.3))


def _wall(picture: Image.Image, rng: np.random.Generator) -> None:
    """Bricks, boards or bare plaster, and a floor."""
    colour = hue(rng.uniform(0.0, 0.15), rng.uniform(0.05, 0.5), rng.uniform(0.35, 0.9))
    _gradient(picture, (0, 1), colour, shade(colour, 0.9))
    draw, side = ImageDraw.Draw(picture), picture.width
    step, line = side // int(rng.integers(7, 16)), shade(colour, rng.choice([0.75, 1.2]))
    pattern = rng.integers(0, 3)
    for at in range(0, side, step):
        if pattern == 0:
            draw.line((0, at, side, at), fill=line, width=2)
        elif pattern == 1:
            draw.line((at, 0, at, side), fill=line, width=4)
    floor = gray(rng, 70, 200)
    _gradient(picture, (rng.uniform(0.72, 0.9), 1), floor, shade(floor, 0.8))


def _room(picture: Image.Image, rng: np.random.Generator) -> None:
    """Clutter of every colour, as in a shed or a shop."""
    _gradient(picture, (0, 1), gray(rng, 60, 220), gray(rng, 60, 220))
    draw, side = ImageDraw.Draw(picture), picture.width
    for _ in range(int(rng.integers(6, 18))):
        left, top = rng.uniform(-0.1, 1.0, 2) * side
        right, bottom = (left, top) + rng.uniform(0.05, 0.45, 2) * side
        if rng.random() < 0.6:
            draw.rectangle((left, top, right, bottom), fill=cloth(rng))
        else:
            draw.ellipse((left, top, right, bottom), fill=cloth(rng), outline=gray(rng, 20, 90), width=2)


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
COUNTS: Final[Mapping[Split, int]] = {"train": 250, "test": 50}
"""How many pictures of each class are rendered for each split."""
_SCENE_PIXELS: Final = 6 * SIDE_PIXELS
_RIDDEN: Final = 0.25
_SEED: Final = 20_231
_DRAW: Final = {"bicycle": draw_bicycle, "motorcycle": draw_motorcycle}


def load_sample(classes: tuple[str, ...], progress: ProgressCallback, counts: Mapping[Split, int] = COUNTS) -> Dataset:
    """Render the sample of *classes*, with so many drawings of each class in each split.

    Raises:
        SourceError: a class that it cannot draw.
    """
    for label in classes:
        if label not in _DRAW:
            raise SourceError(f"the built-in sample has no class {label!r}; it has {' and '.join(_DRAW)}")
    wanted: list[tuple[Split, str, int]] = [
        (split, label, number) for split, count in counts.items() for label in classes for number in range(count)
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
