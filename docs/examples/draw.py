"""Draw bicycles and motorcycles for the notebooks, in the layout of CIFAR: `python docs/examples/draw.py FOLDER`."""

import sys
from pathlib import Path

import numpy as np

from scones.data.sources.synthetic import render

CLASSES = {"bicycle": 8, "motorcycle": 48}
"""The numbers that CIFAR-100 gives them."""
COUNTS = {"train": 20, "test": 8}


def drawings() -> dict[str, np.ndarray]:
    """Arrays as CIFAR's files have them: rows of 1,024 red, 1,024 green and 1,024 blue values, labels and names."""
    arrays = {}
    for split, count in COUNTS.items():
        made = [(name, number) for number in range(count) for name in CLASSES]
        pixels = [np.asarray(render(name, split, number).resize((32, 32))) for name, number in made]
        arrays[f"{split}_data"] = np.stack(pixels).transpose(0, 3, 1, 2).reshape(len(made), 3072)
        arrays[f"{split}_fine_labels"] = np.array([CLASSES[name] for name, _ in made])
        arrays[f"{split}_filenames"] = np.array([f"{name}_s_{number:06d}.png" for name, number in made])
    return arrays


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(folder / "drawings.npz", **drawings())
