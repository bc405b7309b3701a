"""What one trained artefact is worth, measured on photos that it never saw."""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime
from sklearn.metrics import roc_auc_score

from scones.artefact import INT8_MODEL, Artefact
from scones.evaluation.corruptions import corrupt
from scones.evaluation.metrics import calibration_error
from scones.evaluation.selective import accuracy_at, risk_coverage

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.floating]

_BATCH = 50
_COVERAGE = 0.9


@dataclass(frozen=True)
class Judges:
    """The photos to judge by: the classes', and others that show neither."""

    photos: Pixels
    labels: npt.NDArray[np.int64]
    others: Pixels


def measure(artefact: Artefact, judges: Judges) -> dict[str, float]:
    """Give every figure of one model, by the names that the table uses."""
    exact, int8 = _open(artefact.exact_path), _open(artefact.exact_path.with_name(INT8_MODEL))
    probabilities, scores = ask(exact, judges.photos)
    right, confidence = probabilities.argmax(axis=1) == judges.labels, probabilities.max(axis=1)
    found = {
        "accuracy": float(right.mean()),
        "ece": calibration_error(right, confidence),
        "covered": accuracy_at(_COVERAGE, risk_coverage(right, confidence)),
        "noise": _accuracy(ask(exact, corrupt(judges.photos, "noise", 3, 0))[0], judges.labels),
        "contrast": _accuracy(ask(exact, corrupt(judges.photos, "contrast", 5, 0))[0], judges.labels),
        "int8": _accuracy(ask(int8, judges.photos)[0], judges.labels) - float(right.mean()),
        "speed": _milliseconds(exact, judges.photos) / _milliseconds(int8, judges.photos),
    }
    return found | _guard(artefact, exact, scores, judges)


def ask(session: onnxruntime.InferenceSession, photos: Pixels) -> tuple[Floats, Floats]:
    """Give the probabilities [N, C] and the unfamiliarity [N] of photos [N, H, W, 3]."""
    parts = [
        session.run(["probabilities", "unfamiliarity"], {"photos": photos[at : at + _BATCH]})
        for at in range(0, len(photos), _BATCH)
    ]
    probabilities, scores = (np.concatenate(column) for column in zip(*parts, strict=True))
    return probabilities, scores


def flat_and_noise(count: int, side: int) -> Pixels:
    """Pictures of nothing: plain colours, coloured noise and gray noise, a third each."""
    rng = np.random.default_rng(1)
    shape = (count // 3, side, side)
    plain = np.broadcast_to(rng.random((count // 3, 1, 1, 3)), (*shape, 3))
    gray = np.repeat(rng.normal(0.5, 0.2, (*shape, 1)), 3, axis=3)
    return _to_pixels(np.concatenate([plain, rng.random((*shape, 3)), gray]))


def _guard(
    artefact: Artefact, session: onnxruntime.InferenceSession, known: Floats, judges: Judges
) -> dict[str, float]:
    threshold = np.inf if artefact.unfamiliar_above is None else artefact.unfamiliar_above
    others = ask(session, judges.others)[1]
    nothing = ask(session, flat_and_noise(300, judges.photos.shape[1]))[1]
    return {
        "refused": float((known > threshold).mean()),
        "nothing": _auroc(known, nothing),
        "others": _auroc(known, others),
        "accepted": float((others <= threshold).mean()),
    }


def _auroc(known: Floats, other: Floats) -> float:
    truth = np.repeat([0, 1], [len(known), len(other)])
    return float(roc_auc_score(truth, np.concatenate([known, other])))


def _accuracy(probabilities: Floats, labels: npt.NDArray[np.int64]) -> float:
    return float((probabilities.argmax(axis=1) == labels).mean())


def _to_pixels(values: Floats) -> Pixels:
    return np.asarray((255 * values).clip(0, 255).round(), dtype=np.uint8)


def _open(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def _milliseconds(session: onnxruntime.InferenceSession, photos: Pixels, rounds: int = 7, calls: int = 100) -> float:
    """The processor's time for one photo asked alone: the best of some rounds, which others disturb the least."""
    best = float("inf")
    for _ in range(rounds):
        started = time.process_time()
        for number in range(calls):
            session.run(["probabilities", "unfamiliarity"], {"photos": photos[number % len(photos)][np.newaxis]})
        best = min(best, (time.process_time() - started) / calls)
    return 1000 * best
