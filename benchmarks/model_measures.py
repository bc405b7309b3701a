"""What one trained model file is worth, measured on photos that it never saw."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from scones.evaluation.calibration import accuracy_at, calibration_error, risk_coverage
from scones.evaluation.comparison import ModelPair, compare_int8
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
class Judges:
    """The photos to judge by: the classes', and others that show neither."""

    photos: Pixels
    labels: npt.NDArray[np.int64]
    others: Pixels


def measure(model_file: ModelFile, judges: Judges) -> dict[str, float]:
    """Give every figure of one model, by the names that the table uses: of the one in float32 but for int8's own."""
    model = Model(replace(model_file, model_path=model_file.exact_path))
    classes = len(model_file.classes)
    table = _ask(model.answer, judges.photos)
    probabilities = table[:, :classes]
    right, confidence = probabilities.argmax(axis=1) == judges.labels, probabilities.max(axis=1)
    found = {
        "accuracy": float(right.mean()),
        "ece": calibration_error(right, confidence),
        "covered": accuracy_at(_COVERAGE, risk_coverage(right, confidence)),
    }
    for kind, severity in (("noise", 3), ("contrast", 5)):
        damaged = _ask(model.answer, corrupt(judges.photos, kind, severity, 0))[:, :classes]
        found[kind] = float((damaged.argmax(axis=1) == judges.labels).mean())
    int8 = Model(replace(model_file, model_path=model_file.int8_path or model_file.exact_path))
    pair = ModelPair(model.answer, int8.answer, model_file.model_path == model_file.int8_path)
    compared = compare_int8(pair, judges.photos, judges.labels, classes)
    return found | _guard(model_file, model, judges) | {"int8": compared.difference, "speed": compared.times_faster}


def _guard(model_file: ModelFile, model: Model, judges: Judges) -> dict[str, float]:
    limit = np.inf if model_file.unfamiliar_above is None else model_file.unfamiliar_above
    nothing = flat_and_noise(judges.photos.shape[1])
    known, of_nothing, of_others = (_ask(model.answer, some)[:, -1] for some in (judges.photos, nothing, judges.others))
    groups = {SYNTHETIC: (("",) * len(nothing), of_nothing), _OTHERS: (("",) * len(judges.others), of_others)}
    found = evaluate_ood(limit, known, groups)
    generated, others = found.groups
    return {"refused": found.rejected, "nothing": generated.auc, "others": others.auc, "accepted": others.accepted}


def _ask(answer: Callable[[Pixels], npt.NDArray[np.floating]], photos: Pixels) -> Floats:
    return np.concatenate([answer(photos[at : at + _BATCH]) for at in range(0, len(photos), _BATCH)]).astype(np.float64)
