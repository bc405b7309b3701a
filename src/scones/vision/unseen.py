"""Asks exported models, and for each training photo, or a damaged copy of it, the one that had not seen it."""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt
import onnxruntime

from scones.vision.crossfit import FOLDS, Crossfit
from scones.vision.export import Trained, export

_BATCH: Final = 50

Floats = npt.NDArray[np.floating]
Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Unseen:
    """The exact models of all folds, and which fold each training photo, int64 [N], was held out by."""

    sessions: tuple[onnxruntime.InferenceSession, ...]
    folds: npt.NDArray[np.int64]

    @classmethod
    def of(cls, networks: Crossfit, trained: Trained) -> "Unseen":
        """Export the fold's networks with the guard and the temperature of the final one, *trained*."""
        models = (export(replace(trained, fitted=networks.of_fold[fold])) for fold in range(FOLDS))
        return cls(tuple(open_session(model) for model in models), networks.folds.photos)

    def ask(self, photos: Pixels, rows: npt.NDArray[np.intp]) -> tuple[Floats, Floats]:
        """Give probabilities [M, C] and unfamiliarity [M] of *photos*, copies of the training photos *rows* [M]."""
        parts = [np.flatnonzero(self.folds[rows] == fold) for fold in range(FOLDS)]
        answers = [ask(session, photos[part]) for session, part in zip(self.sessions, parts, strict=True) if len(part)]
        back = np.argsort(np.concatenate(parts))
        probabilities, scores = (np.concatenate(column)[back] for column in zip(*answers, strict=True))
        return probabilities, scores


def open_session(model: bytes) -> onnxruntime.InferenceSession:
    """Open an ONNX model on the processor, on one thread: a second one mostly waits, and waits busily."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def ask(session: onnxruntime.InferenceSession, photos: Pixels) -> tuple[Floats, Floats]:
    """Give probabilities [N, C] and unfamiliarity [N] of one or more photos, uint8 [N, H, W, 3]."""
    parts = [
        session.run(["probabilities", "unfamiliarity"], {"photos": photos[at : at + _BATCH]})
        for at in range(0, len(photos), _BATCH)
    ]
    probabilities, scores = (np.concatenate(column) for column in zip(*parts, strict=True))
    return probabilities, scores
