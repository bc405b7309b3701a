"""Colours as vehicles, clothes, walls and skies have them."""

import colorsys

import numpy as np

from scones.photos.drawing.pen import Colour


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
