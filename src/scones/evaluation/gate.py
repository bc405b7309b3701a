"""Gate: the minimum quality that a model must have before it is approved, and before it replaces another."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import scipy
from numpy.typing import NDArray

from scones.config.settings import Settings
from scones.domain.errors import EvaluationError
from scones.domain.statistics import Interval, photos_for_accuracy
from scones.domain.text import plural
from scones.evaluation.comparison import SIGNIFICANCE, Comparison, difference_bound, photos_needed
from scones.evaluation.metrics import ClassificationMetrics, Floats
from scones.evaluation.ood import OodEvaluation
from scones.evaluation.robustness import CorruptionResult
from scones.model.out_of_fold import label_columns


@dataclass(frozen=True, slots=True)
class GateRequirements:
    """The gate's limits: the highest calibration error and the lowest value of the other figures, all from 0 to 1."""

    accuracy: float
    calibration_error: float
    coverage: float
    accuracy_covered: float
    new_source: float = 0

    @classmethod
    def of(cls, settings: Settings) -> "GateRequirements":
        """Read them from the settings."""
        return cls(
            accuracy=settings.gate_accuracy,
            calibration_error=settings.gate_calibration_error,
            coverage=settings.gate_coverage,
            accuracy_covered=settings.gate_accuracy_covered,
            new_source=settings.gate_new_source,
        )


@dataclass(frozen=True, slots=True)
class GateCheck:
    """One requirement: its setting, the required and the measured value, and whether it passed.

    *measured* is None where there was nothing to measure, which never passes. *photos_enough* is about how many photos
    like these would let it pass; None where the number of photos is not what it fails for.
    """

    setting: str
    meaning: str
    required: float
    at_most: bool
    measured: float | None
    passed: bool
    photos_enough: int | None = None

    def __str__(self) -> str:
        """The failed requirement in one line."""
        if self.measured is None:
            return f"{self.setting}: {self.meaning} was not measured: there are no photos for it"
        limit = f"{'more' if self.at_most else 'less'} than the {self.figure(self.required)} required"
        enough = f"; about {self.photos_enough:,} photos like these would be enough" if self.photos_enough else ""
        return f"{self.setting}: {self.meaning} is {self.figure(self.measured)}, {limit}{enough}"

    def figure(self, value: float) -> str:
        """A p-value as a number, every other figure as a percentage, with digits enough to tell it from the limit."""
        if "p-value" in self.meaning:
            return f"{value:.2g}"
        near = self.measured is not None and abs(self.measured - self.required) < _NEAR
        return f"{value:.{3 if near else 1}%}"


_NEAR = 0.001


class GateFailed(EvaluationError):
    """The model does not meet a requirement; the message lists each with the measured value, and what to do."""

    def __init__(self, failed: tuple[GateCheck, ...]) -> None:
        super().__init__(f"gate failed: {explain(failed)}")
        self.failed = failed


def explain(checks: Sequence[GateCheck]) -> str:
    """Which *checks* failed and what to do next, in one line; empty where all passed.

    Wherever the gate decides, these are its words: `train`, `register`, `evaluate`, `retrain` and `deploy`.
    """
    return "; ".join(explain_each(checks))


def explain_each(checks: Sequence[GateCheck]) -> list[str]:
    """The same, a line for each failed check and one for what to do next."""
    failed = [check for check in checks if not check.passed]
    if not failed:
        return []
    again = "scones retrain" if any(check.setting in _AGAINST_LIVE for check in failed) else "scones train"
    enough = [check.photos_enough for check in failed if check.photos_enough]
    more = f"label about {max(enough):,} photos" if len(enough) == len(failed) else "stage more or better photos"
    if any(check.setting == "labels" for check in failed):
        more = "look at the new labels with `scones review corrections`"
    return [*map(str, failed), f"next: {more}, then run: {again}"]


_AGAINST_LIVE = ("gate_margin", "challenger", "drift", "robustness", "ood", "labels")
"""The checks of a model that would replace the live one."""


def check_requirements(
    evaluation: ClassificationMetrics, requirements: GateRequirements, new_source: Interval | None = None
) -> tuple[GateCheck, ...]:
    """Compare the metrics, and the accuracy on new sources where it was measured, with the requirements.

    Shares are compared by the lower end of their 95% interval, so that a lucky result on few photos does not pass.
    """
    checks = tuple(_checks(evaluation, requirements))
    if new_source is None:
        return checks
    meaning = f"{_LOW} on sources left out of training"
    return (*checks, _check("gate_new_source", meaning, new_source.low, requirements.new_source))


_LOW: Final = "the lower end of the 95% interval of accuracy"


def _accuracy_check(setting: str, where: str, found: tuple[float, int, Interval] | None, required: float) -> GateCheck:
    """Check the lower end of an accuracy's interval; *found* is the accuracy, the number of photos and the interval."""
    if found is None:
        return _check(setting, f"{_LOW}{where}", None, required)
    accuracy, n, interval = found
    check = _check(setting, f"{_LOW}{where}, {accuracy:.1%} on {plural(n, 'photo')},", interval.low, required)
    return check if check.passed else replace(check, photos_enough=photos_for_accuracy(accuracy, required))


def require_passed(checks: tuple[GateCheck, ...]) -> None:
    """Return if every check passed.

    Raises:
        GateFailed: a check did not pass.
    """
    failed = tuple(check for check in checks if not check.passed)
    if failed:
        raise GateFailed(failed)


def check_not_worse(comparison: Comparison) -> GateCheck:
    """Check that the other model is not significantly better, by the p-value of its lead."""
    leads = comparison.only_theirs > comparison.only_ours
    return _check(
        "--against", "the p-value of the other model's lead", comparison.p_value if leads else 1, SIGNIFICANCE
    )


def _checks(found: ClassificationMetrics, requirements: GateRequirements) -> Iterator[GateCheck]:
    covered = None
    if found.interval_covered and found.accuracy_covered is not None:
        covered = found.accuracy_covered, round(found.coverage * found.n), found.interval_covered
    all_photos = found.accuracy, found.n, found.interval
    yield _accuracy_check("gate_accuracy", "", all_photos, requirements.accuracy)
    yield _check(
        "gate_calibration_error", "the calibration error", found.ece, requirements.calibration_error, at_most=True
    )
    yield _check(
        "gate_coverage", "the share of photos at or above the threshold", found.coverage, requirements.coverage
    )
    where = " at or above the threshold"
    yield _accuracy_check("gate_accuracy_covered", where, covered, requirements.accuracy_covered)


def _check(setting: str, meaning: str, measured: float | None, required: float, *, at_most: bool = False) -> GateCheck:
    passed = measured is not None and bool(measured <= required if at_most else measured >= required)
    return GateCheck(setting, meaning, float(required), at_most, None if measured is None else float(measured), passed)


_CLASS_MARGIN = 0.05
"""By how much it may be less accurate on one class: there are fewer photos of each."""


class UnlikeModels(EvaluationError):
    """Two models that cannot be compared; the message says why."""


@dataclass(frozen=True, slots=True)
class PairedAnswers:
    """Photos with their true *labels*, and the probabilities [N, C] that champion and challenger gave them."""

    labels: Sequence[str]
    champion: Floats
    challenger: Floats

    def right(self, classes: Sequence[str]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Which photos the champion has right, and which the challenger.

        Raises:
            InvalidLabelledPredictions: a label is none of *classes*, or the probabilities do not fit them.
        """
        first, second = (
            table.argmax(axis=1) == label_columns(self.labels, table, classes)
            for table in (self.champion, self.challenger)
        )
        return first, second


@dataclass(frozen=True, slots=True)
class SideEffects:
    """What else was measured of a model: its accuracy on corrupted photos, and its out-of-distribution detector."""

    robustness: Sequence[CorruptionResult] = ()
    ood: OodEvaluation | None = None


def require_same_classes(champion: Sequence[str], challenger: Sequence[str]) -> None:
    """Return if both models tell the same classes apart, in the same order.

    Raises:
        UnlikeModels: they do not.
    """
    if tuple(champion) != tuple(challenger):
        ours, theirs = ", ".join(challenger), ", ".join(champion)
        raise UnlikeModels(
            f"the challenger has the classes {ours}, the live model {theirs}; deploy it as a model of its own"
        )


def check_challenger(
    frozen: PairedAnswers,
    fresh: PairedAnswers | None,
    classes: Sequence[str],
    *,
    must_be_better: bool,
    margin: float,
) -> tuple[GateCheck, ...]:
    """Check that a challenger may replace the champion, both having answered the same photos.

    *frozen* is the test set, which stays the same; *fresh* is the measuring share of recent traffic, if there is one.
    On the test set the challenger must not be worse by more than *margin*, with 95% confidence. On fresh photos it must
    be significantly better where drift was found (*must_be_better*), and elsewhere right at least as often. So it must
    on all of them, and on each class too, except for a few photos. A class without photos fails its check: nothing can
    be said of it.
    """
    return tuple(_compare(frozen, fresh, classes, must_be_better, margin))


def check_side_effects(champion: SideEffects, challenger: SideEffects, margin: float) -> tuple[GateCheck, ...]:
    """Check that a challenger is not less robust than the champion, nor less good at rejecting photos of other things.

    What was measured of one model only fails.
    """
    return tuple(_side_effects(champion, challenger, margin))


def _compare(
    frozen: PairedAnswers, fresh: PairedAnswers | None, classes: Sequence[str], must_be_better: bool, margin: float
) -> Iterator[GateCheck]:
    old, new = frozen.right(classes)
    yield _not_worse(old, new, margin)
    labels = np.array(frozen.labels)
    tested = {name: bool((labels == name).any()) for name in classes}
    if fresh is not None and len(fresh.labels):
        fresh_old, fresh_new = fresh.right(classes)
        yield _on_fresh(fresh_old, fresh_new, must_be_better)
        labels = np.concatenate([labels, fresh.labels])
        old, new = np.concatenate([old, fresh_old]), np.concatenate([new, fresh_new])
    elif must_be_better:
        yield _check("drift", _LEAD, None, SIGNIFICANCE, at_most=True)
    yield _check(
        "challenger",
        f"the challenger's lead in accuracy on all {plural(len(labels), 'photo')}",
        float(new.mean() - old.mean()),
        required=0,
    )
    for name in classes:
        shown = labels == name
        # Of a class with few photos, one may go wrong.
        allowed = max(_CLASS_MARGIN, 1 / max(shown.sum(), 1))
        required = max(0.0, float(old[shown].mean()) - allowed) if tested[name] else 1
        recall = float(new[shown].mean()) if tested[name] else None
        yield _check(
            "challenger",
            f"the challenger's accuracy on {plural(int(shown.sum()), 'photo')} of {name}",
            recall,
            required,
        )


MIN_NEW_LABELS: Final = 10
"""Fewer cannot do much harm, and a model that is too sure of three photos says little of their labels."""
_MISTAKES = 0.02
"""The share of labels that careful people get wrong."""
_CONTRADICTED = 0.01
"""New labels that agree with the model as seldom as this, by chance, are not learnt from: they may be wrong."""


def check_labels(labels: Sequence[str], out_of_fold: Floats, classes: Sequence[str]) -> tuple[GateCheck, ...]:
    """Check that the *labels* which only the challenger learnt agree with it as often as its confidence says.

    *out_of_fold* [N, C] are its probabilities of the same photos from folds that did not learn them. Labels that were
    flipped contradict what it has learnt from all others. The test is exact: the agreements would be a sum of so many
    independent events, each with the confidence's probability, but for people's mistakes.

    Raises:
        InvalidLabelledPredictions: a label is none of *classes*, or the probabilities do not fit them.
    """
    if len(labels) < MIN_NEW_LABELS:
        return ()
    agree = out_of_fold.argmax(axis=1) == label_columns(labels, out_of_fold, classes)
    confidence, chances = out_of_fold.max(axis=1), np.ones(1)
    expected = confidence * (1 - _MISTAKES) + (1 - confidence) * _MISTAKES / max(len(classes) - 1, 1)
    for chance in expected.tolist():
        chances = np.convolve(chances, [1 - chance, chance])
    seldom = min(1.0, float(chances[: agree.sum() + 1].sum()))
    meaning = (
        f"of {len(labels)} new labels {agree.sum()} agree with the challenger's folds that did not learn them, "
        f"and {expected.sum():.0f} should, or else labels are wrong: the p-value"
    )
    return (_check("labels", meaning, seldom, _CONTRADICTED),)


_LEAD = "the p-value of the challenger's lead on fresh photos"
Flags = NDArray[np.bool_]


def _not_worse(old: Flags, new: Flags, margin: float) -> GateCheck:
    n, only_old, only_new = len(old), int((old & ~new).sum()), int((new & ~old).sum())
    bound = difference_bound(only_new, only_old, n)
    split = f"{only_new} only the challenger has right, {only_old} only the live model"
    meaning = f"the 95% lower bound of the challenger's lead on {plural(n, 'test photo')} ({split})"
    needed = photos_needed(only_new, only_old, n, margin) if bound < -margin else None
    return replace(_check("gate_margin", meaning, bound, -margin), photos_enough=needed)


def _on_fresh(old: Flags, new: Flags, must_be_better: bool) -> GateCheck:
    """Right at least as often; where it must be better, McNemar's exact test, one-sided."""
    only_old, only_new = int((old & ~new).sum()), int((new & ~old).sum())
    if must_be_better:
        chance = float(scipy.special.bdtr(only_old, only_old + only_new, 0.5))
        return _check("drift", f"{_LEAD} ({only_new} to {only_old} of {len(old)})", chance, SIGNIFICANCE, at_most=True)
    lead = f"the challenger's lead in accuracy on {plural(len(old), 'fresh photo')} ({only_new} to {only_old})"
    return _check("challenger", lead, (only_new - only_old) / len(old), 0)


def _side_effects(champion: SideEffects, challenger: SideEffects, margin: float) -> Iterator[GateCheck]:
    if champion.robustness or challenger.robustness:
        old, new = (
            float(np.mean([result.accuracy for result in part.robustness])) if part.robustness else None
            for part in (champion, challenger)
        )
        required = 1.0 if old is None else old - margin
        yield _check("robustness", "the challenger's mean accuracy on corrupted photos", new, required)
    if champion.ood is None and challenger.ood is None:
        return
    before, after = (_ood_shares(part.ood) for part in (champion, challenger))
    for meaning in sorted({*before, *after}):
        limit = before[meaning] + margin if meaning in before else 0.0
        yield _check("ood", f"the share of {meaning}", after.get(meaning), limit, at_most=True)


def _ood_shares(found: OodEvaluation | None) -> dict[str, float]:
    if found is None:
        return {}
    accepted = {f"{group.kind} that it accepts": group.accepted for group in found.groups}
    return {"test photos that it rejects": found.rejected, **accepted}
