"""Photo lines: what the commands about photos, orders and labels print."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from functools import reduce
from typing import TYPE_CHECKING, Any, Final

from scones.domain.decision import Outcome
from scones.domain.progress import FEW, fold
from scones.domain.text import plural, spaced

if TYPE_CHECKING:
    from scones.deployment.reviews import Review, ReviewAnswer, Reviews
    from scones.model.prediction import PredictResult
    from scones.monitoring.performance.labels import LabelResult
    from scones.steps.classify import ClassifyResult
    from scones.steps.classify_batch import BatchRunResult
    from scones.steps.corrections import Correction, Corrections
    from scones.steps.dispatch import DispatchResult
    from scones.steps.labels import LabelExport, ReviewExport
    from scones.steps.replay import RejudgeResult, ReplayResult
    from scones.steps.simulate import SimulationResult
    from scones.steps.stage import ForgottenPhoto


def _forgotten(result: "ForgottenPhoto") -> Iterable[str]:
    yield f"photo {result.photo}: {plural(result.objects, 'object')} deleted with all versions"
    yield f"it was in data versions: {', '.join(result.versions) or 'none'}"
    models = ", ".join(map(str, result.models))
    yield f"models trained on them: {models or 'none'}{'; train without it: scones retrain' if models else ''}"
    yield from (f"not deleted: {uri} is in a bucket of another owner" for uri in result.elsewhere)
    days = plural(result.capture_days, "day")
    yield f"captured requests may hold it until they are {days} old, and alert pages may show it"


def _predicted(result: "PredictResult") -> Iterable[str]:
    for item in result:
        unlike = ", out of distribution" if item.out_of_distribution else ""
        yield f"{item.photo}: {item.error or f'{item.label} {item.confidence:.1%}{unlike}'}"


def _label_export(result: "LabelExport") -> Iterable[str]:
    yield f"{plural(result.labels, 'label')} in {result.file}"


def _classified(result: "ClassifyResult") -> Iterable[str]:
    if len(result.executions) <= FEW:
        for item in result.executions:
            decision = f"{item.label} {item.confidence:.1%}" if item.label else item.error
            if item.name:
                yield f"{item.photo or item.key}: {spaced(item.outcome)}: {decision} (execution {item.name})"
    yield from fold([f"{item.key}: {spaced(item.outcome)}: {item.cause}" for item in result.unread()])
    yield counts({outcome: result.count(outcome) for outcome in Outcome})


def _dispatch(result: "DispatchResult") -> Iterable[str]:
    if not result.orders:
        yield "there are no open orders; to create some, run: scones dispatch --example-orders 40"
        return
    busy = {item.courier.id for item in result.plan.assignments}
    yield f"{len(result.plan.assignments)} of {plural(len(result.orders), 'open order')} assigned"
    yield f"{plural(len(busy), 'courier has', 'couriers have')} an order"
    for reason, count in Counter(item.reason for item in result.plan.unassigned).most_common(5):
        yield f"{count} not assigned: {reason}"
    yield f"plan {result.uri}"


def _simulation(result: "SimulationResult") -> Iterable[str]:
    total = Counter[str]()
    for kind, outcomes in result.outcomes.items():
        total.update(outcomes)
        yield f"{kind:<10} {sum(outcomes.values()):>6}: {counts(outcomes)}"
    yield f"{'all':<10} {result.events:>6}: {counts(total)}"
    rate = result.events / result.seconds
    yield f"{plural(result.orders, 'order')} assigned; {rate:.0f} events a second for {result.seconds:.1f} s"
    yield from (f"failed with {error}: {count}" for error, count in result.errors.items())


def _batch_run(result: "BatchRunResult") -> Iterable[str]:
    yield f"run {result.run}: {plural(result.photos, 'photo')}"
    yield counts(result.counts)
    if result.newly_classified:
        rate = f"{result.photos_per_second:.0f} per second"
        yield f"{result.newly_classified:,} classified now, in {result.seconds:.1f} s: {rate}"
    elif result.already_classified:
        yield f"{result.already_classified:,} had results already, none was classified now"
    else:
        yield "none was classified"
    yield from fold([f"failed: {line}" for line in result.failed])
    yield from fold([f"unreadable: {line}" for line in result.unreadable])
    yield from fold([f"left out: {item.name}: {item.why}" for item in result.left_out])
    yield f"on AWS, about ${result.cost.total_dollars:.4f} besides the endpoint (prices of {result.cost.as_of})"
    yield from (f"results {uri}" for uri in result.results)


def _replay(result: "ReplayResult") -> Iterable[str]:
    answer = f"{result.label} {100 * result.confidence:.9g}%, " if result.label else ""
    yield f"execution {result.execution}: {answer}{spaced(result.outcome)}"
    yield f"photo {result.photo}, sha256 {result.photo_id[:12]}, model {result.model_version or 'none'}"
    yield from (f"DIFFERENT: {difference}" for difference in result.differences)
    yield "not identical" if result.differences else "reproduced exactly"


def _rejudge(result: "RejudgeResult") -> Iterable[str]:
    differently = sum(result.changes.values())
    yield f"{plural(result.photos, 'photo')}: {result.same} decided as before, {differently} differently"
    for change, count in result.changes.items():
        yield f"{count:6} {reduce(lambda said, outcome: said.replace(outcome, spaced(outcome)), Outcome, change)}"
    if result.missing:
        yield f"not decided again: {plural(result.missing, 'photo')} that no longer exist"


def _labels(result: "LabelResult") -> Iterable[str]:
    from scones.monitoring.performance.labels import with_interval

    if result.refused:
        yield f"{plural(len(result.refused), 'label')} cannot be used:"
        yield from fold([f"  {reason}" for reason in result.refused], "  ")
    known = f"{plural(result.labels, 'label')} for {plural(result.photos, 'recorded photo')}"
    yield f"{known}; {plural(result.unknown, 'label')} without a photo"
    if result.corrected is not None:
        count = result.corrected.labels
        yield f"accuracy on all photos: {with_interval(result.corrected)}, from {plural(count, 'requested label')}"
        if count < result.requested:
            yield f"{result.requested - count} of the requested photos have no label; they may differ"
    if result.exact is not None:
        yield f"accuracy on the labelled photos only: {with_interval(result.exact)}, n = {result.exact.labels}"


def _review_export(result: "ReviewExport") -> Iterable[str]:
    photos = plural(result.photos, "photo")
    yield f"{photos} to label, {result.chosen} of them chosen now; to see them, run: scones console"
    yield f"write the labels into {result.table}, then run: scones review import {result.table}"
    yield f"for Label Studio: {result.tasks}"


def _reviews(result: "Reviews") -> Iterable[str]:
    for item in result.items:
        yield from _review(item)
    if result.more:
        yield "and more; --limit lists them"
    waiting = f", {result.couriers_waiting} with a courier who waits" if result.couriers_waiting else ""
    age = f"; the oldest is {plural(round(result.oldest_minutes), 'minute')} old" if result.open else ""
    yield f"{plural(result.open, 'photo')} to review{waiting}{age}"


def _review(item: "Review") -> Iterable[str]:
    said = f"the model says {item.predicted} at {item.confidence:.0%}" if item.predicted else "no prediction"
    who = f", courier {item.courier['id']}" if item.courier else ""
    answered = f"; {item.label}, says {item.by}" if item.label else ""
    why = spaced(item.reason)
    yield f"{item.photo_id} {item.state}, {why} since {item.since[:16]}: {said}{who}{answered}"


def _corrections(result: "Corrections") -> Iterable[str]:
    for item in result.items:
        said = f"labelled {item.label}, the model says {item.predicted} at {item.confidence:.0%}"
        yield f"{item.photo} {said}: {item.key}"
    if result.open > len(result.items):
        yield "and more; --limit lists them"
    decided = f", {result.decided} are decided" if result.decided else ""
    yield f"{plural(result.open, 'label')} of data version {result.version} to confirm or correct{decided}"


def _correction(result: "Correction") -> Iterable[str]:
    said = f"corrected from {result.before} to {result.label}" if result.label != result.before else "confirmed"
    yield f"{result.photo}: {f'{said} by {result.by}' if result.label else f'withdrawn by {result.by}'}"
    if result.label not in ("", result.before):
        yield "to make the next version of the data, run: scones stage --with-labels"
    if result.others:
        disagree = ", ".join(f"{who} says {label}" for who, label in result.others.items())
        yield f"{disagree}; the label stays as it is until all agree"


def _answer(result: "ReviewAnswer") -> Iterable[str]:
    yield f"photo {result.photo}: {result.label or 'no answer'}{f', says {result.by}' if result.by else ''}"
    yield from (f"{who} says {label}; whoever was first counts for the courier" for who, label in result.others.items())
    if result.courier and result.dispatch:
        orders = f": {', '.join(result.orders)}" if result.orders else ""
        yield f"courier {result.courier}: {result.dispatch}, {plural(len(result.orders), 'order')}{orders}"


def counts(numbers: Mapping[str, int]) -> str:
    """So many of each outcome or kind."""
    return ", ".join(f"{number:,} {spaced(name)}" for name, number in numbers.items())


LINES: Final[Mapping[str, Callable[[Any], Iterable[str]]]] = {
    "ForgottenPhoto": _forgotten,
    "LabelExport": _label_export,
    "PredictResult": _predicted,
    "ClassifyResult": _classified,
    "DispatchResult": _dispatch,
    "SimulationResult": _simulation,
    "BatchRunResult": _batch_run,
    "ReplayResult": _replay,
    "RejudgeResult": _rejudge,
    "LabelResult": _labels,
    "Reviews": _reviews,
    "ReviewExport": _review_export,
    "Review": _review,
    "ReviewAnswer": _answer,
    "Corrections": _corrections,
    "Correction": _correction,
}
"""How each result is shown, by the name of its class."""
