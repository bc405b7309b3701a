"""What one trained artefact is worth, measured on photos that it never saw."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from scones.evaluation.calibration import accuracy_at, risk_coverage
from scones.evaluation.int8_comparison import Pair, compare_int8
from scones.evaluation.metrics import calibration_error
from scones.evaluation.ood import NOTHING, flat_and_noise, judge_guard
from scones.evaluation.robustness import corrupt
from scones.model.inference import Model
from scones.model.model_file import Artefact

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


def measure(artefact: Artefact, judges: Judges) -> dict[str, float]:
    """Give every figure of one model, by the names that the table uses: of the one in float32 but for int8's own."""
    model = Model(replace(artefact, model_path=artefact.exact_path))
    classes = len(artefact.classes)
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
    int8 = Model(replace(artefact, model_path=artefact.int8_path or artefact.exact_path))
    pair = Pair(model.answer, int8.answer, artefact.model_path == artefact.int8_path)
    compared = compare_int8(pair, judges.photos, judges.labels, classes)
    return found | _guard(artefact, model, judges) | {"int8": compared.difference, "speed": compared.times_faster}


def _guard(artefact: Artefact, model: Model, judges: Judges) -> dict[str, float]:
    limit = np.inf if artefact.unfamiliar_above is None else artefact.unfamiliar_above
    nothing = flat_and_noise(judges.photos.shape[1])
    known, of_nothing, of_others = (_ask(model.answer, some)[:, -1] for some in (judges.photos, nothing, judges.others))
    strangers = {NOTHING: (("",) * len(nothing), of_nothing), _OTHERS: (("",) * len(judges.others), of_others)}
    found = judge_guard(limit, known, strangers)
    made_up, others = found.strangers
    return {"refused": found.refused, "nothing": made_up.auc, "others": others.auc, "accepted": others.accepted}


def _ask(answer: Callable[[Pixels], npt.NDArray[np.floating]], photos: Pixels) -> Floats:
    return np.concatenate([answer(photos[at : at + _BATCH]) for at in range(0, len(photos), _BATCH)]).astype(np.float64)
