"""Two other ways to tell the same photos apart: HOG with an SVM, and ImageNet's own classes without any training."""

import numpy as np
import numpy.typing as npt
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from scones.training.features import Features

Pixels = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]
_CELL, _BINS = 4, 9
_BICYCLES, _MOTORCYCLES = (444, 671), (665, 670)
"""ImageNet's tandem and mountain bike, moped and scooter."""


def hog_and_svm(photos: Pixels, labels: Labels, asked: Pixels) -> Labels:
    """Histograms of oriented gradients (N. Dalal and B. Triggs, 2005) and a support vector machine."""
    model = make_pipeline(StandardScaler(), SVC(C=10, gamma="scale"))
    model.fit(hog(photos), labels)
    return np.asarray(model.predict(hog(asked)))


def hog(photos: Pixels) -> npt.NDArray[np.float64]:
    """Nine orientations in cells of 4 x 4 pixels, normalised over blocks of 2 x 2 cells, float64 [N, F]."""
    gray = np.sqrt(photos.mean(axis=3) / 255)
    down, across = np.gradient(gray, axis=(1, 2))
    strength, angle = np.hypot(down, across), np.arctan2(down, across) % np.pi
    place = np.minimum((angle / np.pi * _BINS).astype(int), _BINS - 1)
    votes = np.eye(_BINS)[place] * strength[..., None]
    count, side = len(photos), photos.shape[1] // _CELL
    cells = votes.reshape(count, side, _CELL, side, _CELL, _BINS).sum(axis=(2, 4))
    blocks = np.concatenate([cells[:, y : y + side - 1, x : x + side - 1] for y in (0, 1) for x in (0, 1)], axis=3)
    blocks = blocks / np.sqrt((blocks**2).sum(axis=3, keepdims=True) + 1e-4)
    return np.asarray(blocks.reshape(count, -1))


def imagenet_classes(last: Features, weights: npt.NDArray[np.float32], bias: npt.NDArray[np.float32]) -> Labels:
    """Answer 1 where ImageNet's motorcycles are likelier than its bicycles, by the backbone's own last layer."""
    logits = last.astype(np.float32) @ weights.T + bias
    bicycle, motorcycle = (np.logaddexp(*logits[:, list(some)].T) for some in (_BICYCLES, _MOTORCYCLES))
    return np.asarray(motorcycle > bicycle, np.int64)
