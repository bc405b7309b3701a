"""Folders of photos, and what a folder source makes of them."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from scones.data.dataset import Dataset, ProgressCallback
from scones.data.sources.files import open_folder
from scones.data.sources.folder import load_files

VEHICLES = ("bicycle", "motorcycle")


def quiet(_done: int, _total: int, _what: str) -> None:
    """A progress that is not shown."""


def collect_folder(folder: Path, classes: tuple[str, ...], progress: ProgressCallback) -> Dataset:
    """Collect from a folder of this machine."""
    return load_files(open_folder(folder), classes, progress)


def png(seed: int, side: int = 32) -> bytes:
    """A photo of noise, of its own for each seed."""
    stream = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(stream, "png")
    return stream.getvalue()


def fill(folder: Path, count: int, start: int = 0) -> Path:
    """Put *count* photos in *folder*."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        (folder / f"IMG {number}.png").write_bytes(png(start + number))
    return folder


def left_out(found: Dataset) -> dict[str, tuple[str, int]]:
    """The reason for each file that is not used, and how many files it stands for."""
    return {item.name: (item.reason, item.files) for item in found.left_out}


def names(collection: Dataset) -> list[str]:
    """Every photo's place."""
    return [f"{p.split}/{p.label}/{p.name}" for p in collection.photos]
