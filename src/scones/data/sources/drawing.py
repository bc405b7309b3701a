"""Drawing: vector shapes in seeded colors, scenery, and a camera that renders them like a photo."""

import colorsys
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

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
