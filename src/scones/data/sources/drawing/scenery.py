"""Draws what is behind and before a vehicle: sky and field, street and wall, clutter, passers-by's poles."""

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw

from scones.data.sources.drawing.pen import Colour, cloth, gray, hue, shade

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
