"""Features: what the backbone sees in each training photo, its mirror image, and cropped and damaged copies."""

import hashlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import onnxruntime
from PIL import Image

from scones.data.decode import resize
from scones.evaluation.robustness import corrupt

Photos = npt.NDArray[np.uint8]
Features = npt.NDArray[np.floating]
"""A photo's numbers in one row, [N, F]. Half precision loses less than the int8 backbone does; those of a model from
elsewhere may be of any size, and have single precision."""

Report = Callable[[int], None]

DAMAGES: Final = tuple((kind, severity) for kind in ("noise", "contrast", "blur", "jpeg") for severity in (3, 5))
"""Each damaged copy has one of these, by chance."""
SMALLEST_CROP: Final = 0.8
"""The least that a cropped copy shows of each side."""
VIEW_WEIGHTS: Final = (1.0, 1.0, 1.0, 0.4, 0.4)
"""How much each view counts in training: photo, mirror image, cropped copy, and two damaged copies."""
VIEWS: Final = len(VIEW_WEIGHTS)
_PART: Final = 256
CHUNK: Final = 32
"""Photos that the backbone gets at once."""


@dataclass(frozen=True, slots=True)
class TrainingData:
    """Decoded photos, uint8 [N, H, H, 3], their class numbers, int64 [N], and how many classes there are.

    They have the size that they came with, or the model's if that is smaller. *outliers*, uint8 [M, H, H, 3], are
    photos of other things; there may be none. *sources* name where each photo comes from, "" where that is unknown.
    Photos may lie in a file; *release* gives back the memory of those that were read, which are read again when needed.
    """

    photos: Photos
    labels: npt.NDArray[np.int64]
    classes: int
    outliers: Photos
    sources: tuple[str, ...]
    release: Callable[[], None] = lambda: None

    def parts(self) -> Iterator[slice]:
        """Divide the photos into parts that are looked at one after the other; each one's memory is given back."""
        for start in range(0, len(self.photos), _PART):
            yield slice(start, start + _PART)
            self.release()


class FeatureExtractor:
    """Turns photos, uint8 [N, H, H, 3], into features by an ONNX *model*, on as many threads as there are processors.

    They are enlarged to the model's *size*, as the endpoint enlarges them. With a folder *kept*, the features of each
    chunk are written there, and read when the same chunk comes again. Their *kind* is half precision by default.
    """

    def __init__(self, model: bytes, size: int, kept: Path | None = None, kind: "npt.DTypeLike" = np.float16) -> None:
        self._session = open_session(model)
        self.size = size
        self._name = hashlib.sha256(model).digest()
        self._kept = kept
        self._kind = np.dtype(kind)
        self._threads = os.cpu_count() or 1

    def see(self, photos: Photos, view: int = 0, seed: int = 0, report: Report = lambda _count: None) -> Features:
        """Give the features [N, F] of a *view* of the photos; *report* hears how many more are done."""
        # Each chunk by itself, whatever its neighbors: the same photos give the same features on any number of threads.
        starts = range(0, len(photos), CHUNK)
        found = []
        with ThreadPoolExecutor(self._threads) as pool:
            chunks = pool.map(lambda at: self._chunk(view_of(photos[at : at + CHUNK], view, seed + at)), starts)
            for features in chunks:
                found.append(features)
                report(len(features))
        width = self._session.get_outputs()[0].shape[1]
        return np.concatenate(found) if found else np.zeros((0, width), self._kind)

    def _chunk(self, photos: Photos) -> Features:
        path = self._kept and self._kept / f"{self._key(photos)}.npy"
        if path and path.exists():
            return np.asarray(np.load(path, allow_pickle=False))
        enlarged = resize(photos, self.size)
        features: Features = self._session.run(None, {"photos": enlarged})[0].astype(self._kind)
        if path:
            path.parent.mkdir(parents=True, exist_ok=True)
            half_written = path.with_suffix(".part")
            with half_written.open("wb") as file:
                np.save(file, features)
            half_written.rename(path)
        return features

    def _key(self, photos: Photos) -> str:
        return hashlib.sha256(self._name + np.ascontiguousarray(photos).tobytes()).hexdigest()[:24]


def open_session(model: bytes) -> onnxruntime.InferenceSession:
    """Open an ONNX model on the processor, on one thread: chunks of photos run side by side instead."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def view_of(photos: Photos, view: int, seed: int) -> Photos:
    """Give the photos (view 0), their mirror images (1), cropped copies (2), or damaged ones (3 and up)."""
    if view < 2:
        return photos[:, :, ::-1] if view else photos
    rng = np.random.default_rng([seed, view])
    if view == 2:
        return np.stack([_cropped(photo, rng) for photo in photos])
    chosen, found = rng.integers(len(DAMAGES), size=len(photos)), photos.copy()
    for number in np.unique(chosen):
        rows = chosen == number
        kind, severity = DAMAGES[number]
        found[rows] = corrupt(photos[rows], kind, severity, seed + view)
    return found


def _cropped(photo: Photos, rng: np.random.Generator) -> Photos:
    """Show a part of *photo*, mirrored or not, at its full size."""
    height, width = photo.shape[:2]
    tall, wide = rng.uniform(SMALLEST_CROP, 1, 2) * (height, width)
    top, left, mirrored = rng.uniform(0, height - tall), rng.uniform(0, width - wide), rng.random() < 1 / 2
    image = Image.fromarray(photo[:, ::-1] if mirrored else photo)
    return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC, box=(left, top, left + wide, top + tall)))
