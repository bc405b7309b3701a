"""Preprocessing: how photos become the input of a foreign model, in the words of `--preprocess`."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Final, Literal, NamedTuple, cast

from scones.model.model_file import MAX_IMAGE_SIZE
from scones.training.registration import CannotRegister

MIN_SIZE: Final = 8
Layout = Literal["nchw", "nhwc"]
Order = Literal["rgb", "bgr"]


_ORDERS: Final[tuple[Order, ...]] = ("rgb", "bgr")


class Scale(NamedTuple):
    """What is taken from each color's value, 0 to 255, and by what the rest is divided; in the model's own order."""

    mean: tuple[float, float, float]
    deviation: tuple[float, float, float]
    order: Order | None = None
    """The order of colors that always goes with it."""


def _even(mean: float, deviation: float) -> Scale:
    return Scale((mean, mean, mean), (deviation, deviation, deviation))


SCALES: Final[Mapping[str, Scale]] = {
    "0..1": _even(0.0, 255.0),
    "imagenet": Scale((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
    "-1..1": _even(127.5, 127.5),
    "0..255": _even(0.0, 1.0),
    "caffe": Scale((103.939, 116.779, 123.68), (1.0, 1.0, 1.0), "bgr"),
}
"""The ways in which photo classifiers take a color's value; the first ones are the commonest."""
WORDS: Final = f"nchw, nhwc, rgb, bgr, size=PIXELS, {', '.join(SCALES)}, mean=R/G/B and std=R/G/B"


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """How photos become the model's input; None and 0 are left to the graph and the photos to tell."""

    layout: Layout | None = None
    order: Order | None = None
    scale: str | Scale | None = None
    size: int = 0

    def candidates(self) -> "list[Preprocessing]":
        """List the complete ways that are left open, the commonest first."""
        scales = [self.scale] if self.scale is not None else list(SCALES)
        found = []
        for order, scale in product(_ORDERS, scales):
            always = (SCALES[scale] if isinstance(scale, str) else scale).order
            if order == (self.order or always or order) and always in {None, order}:
                found.append(replace(self, scale=scale, order=order))
        return found

    def __str__(self) -> str:
        """Write it as `--preprocess` reads it."""
        scale = self.scale
        if isinstance(scale, Scale):
            mean, deviation = ("/".join(f"{value / 255:.4g}" for value in values) for values in scale[:2])
            scale = f"mean={mean},std={deviation}"
        words = (self.layout, self.order, scale, f"size={self.size}" if self.size else None)
        return ",".join(word for word in words if word)


def parse_preprocessing(text: str) -> Preprocessing:
    """Read the words of `--preprocess`, separated by commas; what they leave open is found out.

    Raises:
        CannotRegister: an unknown word, two that contradict each other, or a number that cannot be used.
    """
    found: dict[str, Any] = {}
    for word in filter(None, (part.strip().lower() for part in text.split(","))):
        name, value = _word(word)
        if name in found:
            raise CannotRegister(f"preprocessing {text[:100]!r} says two things of its {name}", f"the words: {WORDS}")
        found[name] = value
    if ("mean" in found or "std" in found) and "scale" in found:
        raise CannotRegister(f"preprocessing {text[:100]!r} has a mean or std beside a named scale", "leave one out")
    if "mean" in found or "std" in found:
        mean, deviation = found.pop("mean", (0.0,) * 3), found.pop("std", (1.0,) * 3)
        found["scale"] = Scale(*(cast("Any", tuple(255 * part for part in values)) for values in (mean, deviation)))
    result = Preprocessing(**found)
    if not result.candidates():
        raise CannotRegister(f"preprocessing {text[:100]!r}: {result.scale} always is bgr", "leave out rgb")
    return result


def _word(word: str) -> tuple[str, Any]:
    name, equals, value = word.partition("=")
    if word in {"nchw", "nhwc"}:
        return "layout", word
    if word in {"rgb", "bgr"}:
        return "order", word
    if word in SCALES:
        return "scale", word
    try:
        if equals and name == "size" and MIN_SIZE <= int(value) <= MAX_IMAGE_SIZE:
            return "size", int(value)
        if equals and name in {"mean", "std"}:
            numbers = tuple(map(float, value.split("/")))
            if len(numbers) == 3 and all(map(math.isfinite, numbers)) and (name == "mean" or min(numbers) > 0):
                return name, numbers
    except ValueError:
        pass
    limits = f"a size lies between {MIN_SIZE} and {MAX_IMAGE_SIZE}, means and stds are three numbers for values 0..1"
    raise CannotRegister(f"preprocessing {word[:50]!r} is not known", f"the words are {WORDS}; {limits}")
