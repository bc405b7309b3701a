"""Measure the check of many photos: seconds and memory; `python -m benchmarks.staging --photos 10000 --side 320`.

The photos are drawn at random in a temporary folder. Of every hundred, one is another one mirrored and compressed,
so that there is something to find.
"""

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from scones.data.sources.files import open_folder
from scones.data.sources.folder import load_files

CLASSES = ("bicycle", "motorcycle")
_TWIN_EVERY = 100
_STATUS = Path("/proc/self/status")


def draw(folder: Path, photos: int, side: int) -> None:
    """Put *photos* JPEG files of *side* x *side* pixels into one folder a class."""
    rng = np.random.default_rng(0)
    for label in CLASSES:
        (folder / label).mkdir(parents=True)
    picture = Image.new("RGB", (side, side))
    for number in range(photos):
        if number % _TWIN_EVERY:
            coarse = Image.fromarray(rng.integers(0, 256, (12, 12, 3), dtype=np.uint8))
            picture = coarse.resize((side, side), Image.Resampling.BICUBIC)
        else:
            picture = ImageOps.mirror(picture)
        picture.save(folder / CLASSES[number * 2 // photos] / f"{number:06}.jpg", quality=85)


def measure(photos: int, side: int) -> dict[str, float]:
    """Check so many photos; seconds, megabytes, and what was found."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        draw(folder, photos, side)
        before = _peak()
        started, cpu = time.perf_counter(), time.process_time()
        found = load_files(open_folder(folder), CLASSES, lambda *_: None)
        return {
            "photos": photos,
            "side_pixels": side,
            "seconds": round(time.perf_counter() - started, 2),
            "cpu_seconds": round(time.process_time() - cpu, 2),
            "peak_mb": round(_peak()),
            "peak_before_mb": round(before),
            "kept": len(found.photos),
            "twins_planted": photos // _TWIN_EVERY - 1,
            "twins_found": len(found.findings.near_duplicates),
            "moved": found.findings.reassigned,
        }


def _peak() -> float:
    """Megabytes at most so far."""
    if not _STATUS.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_000_000
    # On Linux, getrusage counts the process that started this one, too.
    high = next(line for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM"))
    return int(high.split()[1]) / 1_000


def main() -> None:
    """Read the flags, measure, print JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--photos", type=int, default=10_000)
    parser.add_argument("--side", type=int, default=320)
    options = parser.parse_args()
    print(json.dumps(measure(options.photos, options.side), indent=1))


if __name__ == "__main__":
    main()
