"""Retrain: train on what people labelled; the new model serves only if it is not worse than the live one.

A retraining is a record in the bucket that says which phase it is in. Each phase does nothing if it was done before,
so that a command, or an execution of the state machine, goes on where another was interrupted.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import islice
from typing import Final

import numpy as np

from scones.aws.connection import Aws
from scones.aws.registry import ApprovalStatus
from scones.config.settings import Settings
from scones.data.dataset import from_lines
from scones.data.decode import decode
from scones.data.growth import LabelledTraffic
from scones.data.image_header import UnreadablePhoto
from scones.data.labels import Label
from scones.deployment.lock import deployment_lock
from scones.deployment.pricing import UnknownPrice, bill
from scones.deployment.releases import list_releases
from scones.deployment.retrainings import (
    NewLabels,
    Phase,
    Retraining,
    RetrainingOutcome,
    current,
    history,
    save,
)
from scones.domain.errors import EvaluationError
from scones.domain.naming import from_iso8601, manifest_key, to_iso8601
from scones.domain.progress import Reporter, Silent
from scones.domain.text import plural
from scones.evaluation.challenge import Challenge, ChallengeTerms, ShadowReport, challenge, shadow
from scones.evaluation.evaluation import (
    CannotEvaluate,
    EvaluationPhoto,
    ModelFacts,
    ModelUnderTest,
    exclude_training_photos,
    exclude_unreadable_photos,
    load_out_of_fold,
)
from scones.evaluation.gate import UnlikeModels, check_labels
from scones.evaluation.model_client import model_predictor
from scones.model.inference import Model
from scones.model.model_file import open_model_file
from scones.monitoring.capture.records import CapturedRecord, parse_records, split_lines

_WEEK = timedelta(days=7)
_LOCK_SECONDS = 60.0
FRESH_DAYS: Final = 7
"""Labels count as fresh for so many days: after a change, older photos would hide that a model is better or worse."""
SHADOW_PHOTOS: Final = 200
"""So many of the newest captured photos show how a challenger would have answered."""
SCHEDULE: Final = "schedule"
"""The reason of a retraining that the schedule asks for; it starts only if there are labels enough."""
ALARM: Final = "alarm"
"""The beginning of the reason of a retraining that an alarm asks for."""


class RetrainingRefused(EvaluationError):
    """A retraining does not start; the message says why."""


@dataclass(frozen=True, slots=True)
class RetrainingStart:
    """Who asks for a retraining, and what for; *execution* is empty where a person does."""

    reason: str
    champion: int
    champion_uri: str
    labels: NewLabels
    execution: str = ""

    @property
    def automatic(self) -> bool:
        """Whether no person asked."""
        return bool(self.execution)


def begin(aws: Aws, settings: Settings, start: RetrainingStart, report: Reporter) -> Retraining:
    """Begin a retraining, or go on with one that was interrupted.

    Raises:
        RetrainingRefused: one is running, there is nothing to learn, or a limit is reached.
        EnvironmentBusy: a deployment runs.
    """
    with deployment_lock(aws, "retrain", _LOCK_SECONDS, report):
        found = current(aws)
        if found and found.phase is not Phase.ENDED:
            _check_owner(aws, found, start)
            report.tell(f"retraining {found.id} was interrupted before: it continues with {found.phase}")
            return save(aws, replace(found, execution=start.execution))
        check_limits(settings, start, history(aws))
        now = datetime.now(UTC)
        fresh = Retraining(
            id=f"{now:%Y%m%d-%H%M%S}",
            reason=start.reason,
            by=aws.caller,
            started=to_iso8601(now),
            champion=start.champion,
            champion_uri=start.champion_uri,
            execution=start.execution,
        )
        return save(aws, fresh)


def _check_owner(aws: Aws, found: Retraining, start: RetrainingStart) -> None:
    """A retraining has one owner at a time: a command, or an execution that runs."""
    if found.execution == start.execution:
        return
    waits = f"retraining {found.id} waits for your decision on model {found.challenger}: run: scones retrain approve"
    if found.execution:
        status = aws.batches.find(found.execution)
        if status and status.running:
            runs = f"retraining {found.id} runs already, as execution {found.execution.rpartition(':')[2]}"
            raise RetrainingRefused(waits if found.phase is Phase.APPROVE else f"{runs}; see: scones status")
    elif found.phase is Phase.APPROVE:
        raise RetrainingRefused(waits)


def check_limits(settings: Settings, start: RetrainingStart, before: Sequence[Retraining]) -> None:
    """Return if a retraining may start after those *before*; a person's need only have something to learn.

    Raises:
        RetrainingRefused: the limit that is reached.
    """
    if not start.labels.unlearned:
        raise RetrainingRefused(
            "there is nothing new to learn: the live model's data has every label; "
            "label photos: run: scones review list"
        )
    if not start.automatic:
        return
    needed = settings.retrain_labels if start.reason == SCHEDULE else 1
    if settings.retrain == "off":
        raise RetrainingRefused("the setting retrain is off")
    if start.labels.since_last < needed:
        last = "since the last retraining" if before else "so far"
        raise RetrainingRefused(f"there are {plural(start.labels.since_last, 'new label')} {last}; it takes {needed}")
    now = datetime.now(UTC)
    week = [each for each in before if datetime.fromisoformat(each.started) > now - _WEEK]
    if len(week) >= settings.retrain_max_per_week:
        raise RetrainingRefused(
            f"there were {plural(len(week), 'retraining')} in seven days; "
            f"retrain_max_per_week is {settings.retrain_max_per_week}"
        )
    spent = sum(each.dollars for each in before if each.started[:7] == f"{now:%Y-%m}")
    next_dollars = training_dollars(settings, settings.training_seconds)
    if spent + next_dollars > settings.retrain_monthly_dollars:
        raise RetrainingRefused(
            f"this month's retrainings cost ${spent:.2f} and the next up to ${next_dollars:.2f}; "
            f"retrain_monthly_dollars is {settings.retrain_monthly_dollars:g}"
        )


def training_dollars(settings: Settings, seconds: float) -> float:
    """What so many seconds of training cost on AWS; 0 for an instance without a price."""
    try:
        return bill({f"training:{settings.training_instance}": seconds / 3600}).total_dollars
    except UnknownPrice:
        return 0.0


def end(aws: Aws, retraining: Retraining, outcome: RetrainingOutcome, why: str, report: Reporter) -> Retraining:
    """Record how a retraining ended."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    report.tell(f"retraining {retraining.id}: {outcome}: {why}")
    return save(aws, replace(retraining, phase=Phase.ENDED, outcome=outcome, why=why, ended=now, token=""))


def own_retraining(aws: Aws, execution: str) -> Retraining:
    """The newest retraining, if this *execution* runs it.

    Raises:
        RetrainingRefused: it is another's.
    """
    found = current(aws)
    if found is None or found.execution != execution:
        raise RetrainingRefused(f"execution {execution.rpartition(':')[2]} no longer runs the newest retraining")
    return found


def propose(aws: Aws, retraining: Retraining, token: str, topic: str) -> Retraining:
    """Tell people that the new model waits for their decision, once."""
    found = save(aws, replace(retraining, token=token))
    body = [
        f"Retraining {found.id} ({found.reason}) made model {found.challenger}; model {found.champion} is live.",
        *(found.comparison.lines() if found.comparison else ()),
        f"To deploy it, run: scones retrain approve --env {aws.env}",
        f"To keep the live one, run: scones retrain reject --env {aws.env}",
    ]
    aws.notices.publish(topic, f"Scones {aws.env}: model {found.challenger} waits for approval", "\n".join(body))
    return found


def fail(aws: Aws, retraining: Retraining, why: str) -> Retraining:
    """Record that an execution failed; without a decision in time the model is declined."""
    if retraining.phase is Phase.ENDED:
        return retraining
    timed_out = retraining.phase is Phase.APPROVE and why.startswith("States.Timeout")
    outcome = RetrainingOutcome.DECLINED if timed_out else RetrainingOutcome.FAILED
    if retraining.challenger and retraining.phase in {Phase.COMPARE, Phase.APPROVE}:
        aws.registry.decide(aws.registry.get(retraining.challenger), ApprovalStatus.REJECTED, why)
    return end(aws, retraining, outcome, "it was not approved in seven days" if timed_out else why, Silent())


def lineage(retraining: Retraining) -> Mapping[str, str]:
    """What the registry keeps of a retraining, beside the model's own facts."""
    return {
        "parent-model": str(retraining.champion),
        "labels": str(retraining.labels),
        "retraining": retraining.id,
        "retraining-reason": "".join(
            letter if letter.isalnum() or letter in " .:/=+-@_" else " " for letter in retraining.reason
        )[:256],
    }


def staged(aws: Aws, retraining: Retraining, version: str, labels: int, report: Reporter) -> Retraining:
    """Record the data; a retraining that has no photo to learn from ends."""
    package = aws.registry.find(retraining.champion_uri)
    if package and version == package.properties.get("data-version"):
        why = "no labelled photo can be used; to see why, run: scones stage --with-labels"
        return end(aws, retraining, RetrainingOutcome.FAILED, why, report)
    job = f"{aws.prefix}{datetime.now(UTC):%Y%m%d-%H%M%S-%f}"
    return save(aws, replace(retraining, phase=Phase.TRAIN, data_version=version, labels=labels, job=job))


def trained(aws: Aws, settings: Settings, retraining: Retraining, job: str, model_uri: str) -> Retraining:
    """Record the model, and what its training costs."""
    dollars = training_dollars(settings, aws.sagemaker.training(job).seconds)
    return save(aws, replace(retraining, phase=Phase.COMPARE, job=job, model_uri=model_uri, dollars=dollars))


def compared(aws: Aws, settings: Settings, retraining: Retraining, report: Reporter) -> Retraining:
    """Compare the challenger with the champion, and approve or reject it; with `propose` it waits for a person."""
    package = aws.registry.get(retraining.challenger)
    try:
        found = compare_models(aws, settings, retraining, report)
    except (CannotEvaluate, UnlikeModels) as reason:
        aws.registry.decide(package, ApprovalStatus.REJECTED, str(reason))
        return end(aws, retraining, RetrainingOutcome.REFUSED, str(reason), report)
    retraining = replace(retraining, comparison=found)
    for line in found.lines():
        report.tell(line)
    if not found.passed:
        aws.registry.decide(
            package, ApprovalStatus.REJECTED, f"not better than model {retraining.champion}: {found.reason()}"
        )
        return end(aws, retraining, RetrainingOutcome.REFUSED, found.reason(), report)
    if settings.retrain == "propose":
        aws.registry.decide(
            package, ApprovalStatus.PENDING, f"proposed by retraining {retraining.id}: {found.reason()}"
        )
        report.tell(
            f"model {package.number} may replace model {retraining.champion}; to deploy it, run: scones retrain approve"
        )
        return save(aws, replace(retraining, phase=Phase.APPROVE))
    aws.registry.decide(
        package, ApprovalStatus.APPROVED, f"by the gate against model {retraining.champion}: {found.reason()}"
    )
    return save(aws, replace(retraining, phase=Phase.DEPLOY))


def decide(aws: Aws, reject: str | None, report: Reporter) -> Retraining:
    """Take a person's decision; an execution that waits for it goes on by itself.

    Raises:
        RetrainingRefused: no retraining waits for a decision.
    """
    found = current(aws)
    if found is None or found.phase is not Phase.APPROVE:
        raise RetrainingRefused("no retraining waits for a decision; to start one, run: scones retrain")
    package = aws.registry.get(found.challenger)
    reason = f"by {aws.caller}" if reject is None else reject or f"by {aws.caller}"
    approval = ApprovalStatus.APPROVED if reject is None else ApprovalStatus.REJECTED
    aws.registry.decide(package, approval, reason)
    report.tell(f"model {package.number} is {approval.lower()}: {reason}")
    if reject is not None:
        token, found = found.token, end(aws, found, RetrainingOutcome.DECLINED, reason, report)
        if token:
            aws.batches.answer(token, {"phase": found.phase})
        return found
    token, found = found.token, save(aws, replace(found, phase=Phase.DEPLOY, token=""))
    if token and aws.batches.answer(token, {"phase": Phase.DEPLOY}):
        report.tell(f"execution {found.execution.rpartition(':')[2]} deploys it; see: scones status")
        return found
    # No execution waits for it: this command deploys.
    return save(aws, replace(found, execution=""))


def compare_models(aws: Aws, settings: Settings, retraining: Retraining, report: Reporter) -> Challenge:
    """Compare the challenger with the champion on photos that neither was trained on.

    Raises:
        CannotEvaluate: the models have other classes, or there are no photos to compare them on.
        InvalidModelFile: a model cannot be read.
    """
    manifest = aws.bucket.get(manifest_key(retraining.data_version, "test"))
    test = from_lines(manifest, aws.bucket.name)
    bodies = aws.bucket.get_all([sample.key for sample in test])
    photos = tuple(EvaluationPhoto(it.key, it.label, body) for it, body in zip(test, bodies, strict=True))
    fresh = tuple(_fresh(aws, retraining.started, report))
    models, knowns = [], []
    with ExitStack() as stack:
        for name, uri in (("live model", retraining.champion_uri), ("new model", retraining.model_uri)):
            model_file = stack.enter_context(open_model_file(aws.bucket.get(aws.bucket.key(uri))))
            known = load_out_of_fold(model_file, report)
            knowns.append(known)
            for kind in ("test", "fresh"):
                chosen = photos if kind == "test" else fresh
                chosen = exclude_unreadable_photos(chosen, partial(decode, size=model_file.image_size), report)
                chosen = exclude_training_photos(known, chosen, model_file.photo_size, report)
                photos, fresh = (chosen, fresh) if kind == "test" else (photos, chosen)
            predict = model_predictor(Model(model_file).answer, len(model_file.classes), model_file.image_size)
            models.append(ModelUnderTest(ModelFacts.of(model_file, name), predict))
        classes = models[0].facts.classes
        fresh = tuple(photo for photo in fresh if photo.label in classes)
        drifted = retraining.reason.startswith(ALARM)
        terms = ChallengeTerms(drifted, settings.gate_margin, settings.threshold, settings.seed)
        found = challenge(models[0], models[1], (photos, fresh), terms, report.progress)
        found = replace(found, shadow=_shadow(aws, models[1], settings.threshold))
        before, now = knowns
        # A model from elsewhere does not tell what it has learnt.
        labels = check_labels(*now.learnt_since(before), classes) if before and now else ()
        return replace(found, gate=(*found.gate, *labels))


def _shadow(aws: Aws, challenger: ModelUnderTest, threshold: float) -> ShadowReport | None:
    """Have the challenger answer the newest captured photos, beside what the live model had answered."""
    classes = challenger.facts.classes
    newest = list(islice(_captured(aws, len(classes)), SHADOW_PHOTOS))
    if not newest:
        return None
    recorded = np.array([row for _, row in newest])
    return shadow(recorded, challenger.predict([photo for photo, _ in newest]).probabilities, classes, threshold)


def _captured(aws: Aws, classes: int) -> Iterator[tuple[bytes, tuple[float, ...]]]:
    """Photos that the live release answered in the last days, and its probabilities; the newest hours first."""
    releases = [release for release in list_releases(aws.bucket) if release.finished]
    if not releases:
        return
    since, now = from_iso8601(releases[-1].when).timestamp(), datetime.now(UTC)
    for hour in range(24 * FRESH_DAYS):
        moment = now - timedelta(hours=hour)
        if moment.timestamp() < since - 3600:
            return
        found = aws.bucket.list(f"{releases[-1].capture_prefix}{moment:%Y/%m/%d/%H}/")
        for _, pieces in aws.bucket.read_all(reversed(list(found))):
            for record in parse_records(split_lines(pieces or ())):
                if isinstance(record, CapturedRecord) and (record.moment or 0) >= since:
                    pairs = zip(record.photos or (), record.probabilities or (), strict=False)
                    yield from ((photo, row) for photo, row in pairs if len(row) == classes and _readable(photo))


def _readable(photo: bytes) -> bool:
    try:
        decode(photo, 32)
    except UnreadablePhoto:
        return False
    return True


def fresh_labels(labels: Iterable[Label], until: str) -> list[Label]:
    """The labels of the random share that people gave in the last days before *until*, a timestamp."""
    since = from_iso8601(until) - timedelta(days=FRESH_DAYS)
    return [label for label in LabelledTraffic.of(labels).measure.values() if from_iso8601(label.when) >= since]


def _fresh(aws: Aws, until: str, report: Reporter) -> Iterator[EvaluationPhoto]:
    """The labelled photos of the random share that are recent and still there."""
    gone = 0
    for label in fresh_labels(aws.tables.labels.all(), until):
        data = aws.bucket.find_uri(label.uri)
        if data is None:
            gone += 1
        else:
            yield EvaluationPhoto(label.photo, label.label, data)
    if gone:
        report.tell(f"{gone} labelled photos that measure the accuracy are gone: their retention has passed")
