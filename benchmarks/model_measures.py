"""The metrics of one trained model file, on photos that it was not trained on."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from scones.evaluation.comparison import ModelPair, compare_int8
from scones.evaluation.metrics import accuracy_at, calibration_error, risk_coverage
from scones.evaluation.ood import SYNTHETIC, evaluate_ood, flat_and_noise
from scones.evaluation.robustness import corrupt
from scones.model.inference import Model
from scones.model.model_file import ModelFile

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]

_BATCH = 50
_COVERAGE = 0.9
_OTHERS = "other things"


@dataclass(frozen=True)
class HeldOutPhotos:
    """Test photos of the classes, and *others* that show none of them."""

    photos: Pixels
    labels: npt.NDArray[np.int64]
    others: Pixels


def measure(model_file: ModelFile, held_out: HeldOutPhotos) -> dict[str, float]:
    """The metrics of one model by their names in the table; those without `int8` in the name are of float32."""
    model = Model(replace(model_file, model_path=model_file.exact_path))
    classes = len(model_file.classes)
    table = _predict(model.answer, held_out.photos)
    probabilities = table[:, :classes]
    right, confidence = probabilities.argmax(axis=1) == held_out.labels, probabilities.max(axis=1)
    found = {
        "accuracy": float(right.mean()),
        "ece": calibration_error(right, confidence),
        "covered": accuracy_at(_COVERAGE, risk_coverage(right, confidence)),
    }
    for kind, severity in (("noise", 3), ("contrast", 5)):
        corrupted = _predict(model.answer, corrupt(held_out.photos, kind, severity, 0))[:, :classes]
        found[kind] = float((corrupted.argmax(axis=1) == held_out.labels).mean())
    int8 = Model(replace(model_file, model_path=model_file.int8_path or model_file.exact_path))
    pair = ModelPair(model.answer, int8.answer, model_file.model_path == model_file.int8_path)
    compared = compare_int8(pair, held_out.photos, held_out.labels, classes)
    return found | _ood(model_file, model, held_out) | {"int8": compared.difference, "speed": compared.times_faster}


def _ood(model_file: ModelFile, model: Model, held_out: HeldOutPhotos) -> dict[str, float]:
    threshold = np.inf if model_file.unfamiliar_above is None else model_file.unfamiliar_above
    generated = flat_and_noise(held_out.photos.shape[1])
    known, of_generated, of_others = (
        _predict(model.answer, some)[:, -1] for some in (held_out.photos, generated, held_out.others)
    )
    groups = {SYNTHETIC: (("",) * len(generated), of_generated), _OTHERS: (("",) * len(held_out.others), of_others)}
    found = evaluate_ood(threshold, known, groups)
    synthetic, others = found.groups
    return {"refused": found.rejected, "nothing": synthetic.auc, "others": others.auc, "accepted": others.accepted}


def _predict(answer: Callable[[Pixels], npt.NDArray[np.floating]], photos: Pixels) -> Floats:
    return np.concatenate([answer(photos[at : at + _BATCH]) for at in range(0, len(photos), _BATCH)]).astype(np.float64)
