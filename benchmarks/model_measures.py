"""The metrics of one trained model file, on photos that it was not trained on."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from scones.data.decode import resize
from scones.evaluation.metrics import accuracy_at, calibration_error, error_by_chance, risk_coverage
from scones.evaluation.ood import SYNTHETIC, evaluate_ood, flat_and_noise
from scones.evaluation.robustness import corrupt
from scones.model.inference import Model
from scones.model.model_file import ModelFile

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]

_BATCH = 50
_COVERAGE = 0.9
_OTHERS = "other things"
_CALLS = 200


@dataclass(frozen=True)
class HeldOutPhotos:
    """Test photos of the classes at their own size, and *others* that show none of them."""

    photos: Pixels
    labels: npt.NDArray[np.int64]
    others: Pixels


def measure(model_file: ModelFile, held_out: HeldOutPhotos) -> dict[str, float]:
    """The metrics of one model by their names in the table."""
    model = Model(model_file)
    classes = len(model_file.classes)
    probabilities = predict(model, held_out.photos)[:, :classes]
    right, confidence = probabilities.argmax(axis=1) == held_out.labels, probabilities.max(axis=1)
    found = {
        "accuracy": float(right.mean()),
        "ece": calibration_error(right, confidence),
        "chance": error_by_chance(confidence, 0),
        "covered": accuracy_at(_COVERAGE, risk_coverage(right, confidence)),
        "size": sum(path.stat().st_size for path in model_file.model_path.parent.iterdir()) / 1e6,
        "milliseconds": _cpu_milliseconds(model.answer, resize(held_out.photos[:20], model.size)),
    }
    for kind, severity in (("noise", 3), ("contrast", 5)):
        corrupted = predict(model, corrupt(held_out.photos, kind, severity, 0))[:, :classes]
        found[kind] = float((corrupted.argmax(axis=1) == held_out.labels).mean())
    return found | _ood(model_file, model, held_out)


def _ood(model_file: ModelFile, model: Model, held_out: HeldOutPhotos) -> dict[str, float]:
    threshold = np.inf if model_file.unfamiliar_above is None else model_file.unfamiliar_above
    generated = flat_and_noise(held_out.photos.shape[1])
    known, of_generated, of_others = (
        predict(model, some)[:, -1] for some in (held_out.photos, generated, held_out.others)
    )
    groups = {SYNTHETIC: (("",) * len(generated), of_generated), _OTHERS: (("",) * len(held_out.others), of_others)}
    found = evaluate_ood(threshold, known, groups)
    synthetic, others = found.groups
    return {"refused": found.rejected, "nothing": synthetic.auc, "others": others.auc, "accepted": others.accepted}


def predict(model: Model, photos: Pixels) -> Floats:
    """Probabilities, and unfamiliarity in the last column, of photos of any size."""
    parts = (photos[at : at + _BATCH] for at in range(0, len(photos), _BATCH))
    return np.concatenate([model.answer(resize(part, model.size)) for part in parts]).astype(np.float64)


def _cpu_milliseconds(answer: Callable[[Pixels], npt.NDArray[np.floating]], photos: Pixels) -> float:
    """CPU time for one photo alone, on one thread."""
    answer(photos[:1])
    started = time.process_time()
    for number in range(_CALLS):
        at = number % len(photos)
        answer(photos[at : at + 1])
    return 1000 * (time.process_time() - started) / _CALLS
