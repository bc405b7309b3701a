"""A pen that draws in a vehicle's own coordinates, seen from some side, on a picture several times too large."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

Point = tuple[float, float]
"""In a vehicle's coordinates: x from the rear hub (0) to the front hub (1), y upwards from the hubs."""
Colour = tuple[int, int, int]

_CIRCLE_POINTS = 40


@dataclass(frozen=True, slots=True)
class View:
    """How the vehicle stands in the picture: the middle and the wheelbase in pixels, turned and tilted."""

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
