"""A retraining starts when it should, goes on where it was interrupted, and lets only a better model serve."""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from access_keys import KEYS
from conftest import create_labels_table, new_settings, put_away
from scones.aws.connection import connect
from scones.aws.registry import ApprovalStatus
from scones.config.settings import Settings, load, to_environment
from scones.data.dataset import Sample, to_lines
from scones.data.labels import Label, Purpose
from scones.deployment.lock import EnvironmentBusy, deployment_lock
from scones.deployment.retrainings import (
    NewLabels,
    Phase,
    Retraining,
    RetrainingOutcome,
    current,
    history,
    save,
)
from scones.deployment.template import base_template
from scones.domain.naming import manifest_key, to_iso8601
from scones.domain.progress import Silent
from scones.environment import save_result
from scones.model.model_file import OUT_OF_FOLD, write_model_file
from scones.model.out_of_fold import OutOfFoldPredictions
from scones.pipeline import Pipeline
from scones.retraining import begin_retraining, continue_retraining, decide_retraining, new_labels, retrain
from scones.steps.deploy import DeployResult
from scones.steps.retrain import (
    SCHEDULE,
    RetrainingRefused,
    RetrainingStart,
    begin,
    check_limits,
    end,
    fresh_labels,
)
from scones.steps.train import TrainingResult
from scones_local.cloud import Cloud
from tiny_model import noisy_pngs, tar, write_tiny_model_file

AUTO = replace(Settings(), retrain="auto")
EXECUTION = "arn:aws:states:us-east-1:000000000000:execution:scones-x-retrain:one"


def start(reason: str = SCHEDULE, labels: int = 60, execution: str = EXECUTION) -> RetrainingStart:
    """A retraining that the schedule asks for."""
    return RetrainingStart(reason, 1, "s3://b/models/one/output/model.tar.gz", NewLabels(labels, labels), execution)


def before(days: float, dollars: float = 0.0) -> Retraining:
    """A retraining of so many days ago."""
    moment = to_iso8601(datetime.now(UTC) - timedelta(days=days))
    return Retraining("x", SCHEDULE, "me", moment, 1, "s3://b/m", phase=Phase.ENDED, dollars=dollars)


@pytest.mark.parametrize(
    ("settings", "asked", "earlier", "message"),
    [
        (Settings(), start(), [], "the setting retrain is off"),
        (AUTO, start(labels=0), [], "there is nothing new to learn"),
        (AUTO, start("by hand", 0, ""), [], "there is nothing new to learn"),
        (AUTO, start(labels=49), [], "there are 49 new labels so far; it takes 50"),
        (AUTO, replace(start("alarm scones-dev-drift"), labels=NewLabels(60, 0)), [before(1)], "0 new labels since"),
        (AUTO, start(), [before(6), before(0.1)], "2 retrainings in seven days; retrain_max_per_week is 2"),
        (AUTO, start("alarm scones-dev-drift"), [before(6), before(0.1)], "2 retrainings in seven days"),
        (AUTO, start(), [before(0, dollars=9.95)], r"cost \$9.95 and the next up to \$0.1"),
        (replace(AUTO, retrain_monthly_dollars=0.0), start(), [], "retrain_monthly_dollars is 0"),
    ],
)
def test_what_no_person_asks_for_keeps_to_the_limits(
    settings: Settings, asked: RetrainingStart, earlier: list[Retraining], message: str
) -> None:
    """One line says which limit, and its value."""
    with pytest.raises(RetrainingRefused, match=message):
        check_limits(settings, asked, earlier)


@pytest.mark.parametrize(
    ("settings", "asked", "earlier"),
    [
        (AUTO, start(), []),
        (AUTO, start(), [before(8), before(9)]),
        (replace(AUTO, retrain="propose"), start("alarm scones-dev-accuracy", 1), [before(3)]),
        (Settings(), start("by hand", 1, ""), [before(1), before(2), before(3, dollars=99.0)]),
    ],
)
def test_within_the_limits_it_starts_and_a_person_has_none(
    settings: Settings, asked: RetrainingStart, earlier: list[Retraining]
) -> None:
    """A person who asks was told the price."""
    check_limits(settings, asked, earlier)


def test_a_function_gets_the_settings_that_are_not_the_defaults() -> None:
    """What the machine decides, such as folders, stays out; variables of their own win."""
    mine = replace(AUTO, env="x", seed=7, gate_accuracy=0.5, classes=("a", "b"), cache=Path("/x"))
    found = load({}, {"SCONES_SETTINGS": to_environment(mine), "SCONES_SEED": "8"}, Path("/nowhere"))
    assert (found.retrain, found.seed, found.gate_accuracy, found.classes) == ("auto", 8, 0.5, ("a", "b"))
    assert (found.env, found.cache) == ("dev", load({}, {}, Path("/nowhere")).cache)


def test_a_challenger_is_measured_by_recent_labels_of_the_random_share() -> None:
    """Older ones show what the photos were before a change; those that were chosen to learn from are easy to learn."""
    now = datetime.now(UTC)
    labels = [
        Label(f"{purpose}{days}", "bicycle", "ann", to_iso8601(now - timedelta(days=days)), purpose=purpose)
        for purpose in Purpose
        for days in (0.1, 6.9, 7.1, 60)
    ]
    assert {label.photo for label in fresh_labels(labels, to_iso8601(now))} == {"measure0.1", "measure6.9"}


@pytest.fixture(scope="module")
def flow(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory, tiny_model: bytes) -> Iterator[Pipeline]:
    """A registered tiny model that counts as deployed, two hundred test photos, and a table of labels."""
    settings = new_settings(cloud, tmp_path_factory.mktemp("retrain"))
    flow = Pipeline(connect(settings, KEYS), settings, Silent())
    aws = flow.aws
    aws.stack.deploy(base_template(), {"Env": settings.env}, lambda _: None)
    create_labels_table(aws)
    uri = aws.bucket.put("models/one/output/model.tar.gz", tiny_model)
    save_result(aws, "train", TrainingResult("tiny", uri, "test", settings.classes, {}, 0.0))
    number = flow.approve().number
    capture = f"capture/{aws.name}/AllTraffic/"
    save_result(aws, "deploy", DeployResult(aws.name, "c", "m", uri, settings.classes, capture, 1, number))
    samples = []
    for place, photo in enumerate(noisy_pngs(200, seed=5)):
        samples.append(Sample(f"data/v/test/x/{place}.png", settings.classes[place % 2], "test", f"{place:064d}"))
        aws.bucket.put(samples[-1].key, photo)
    aws.bucket.put(manifest_key("v", "test"), to_lines(samples, aws.bucket.name, settings.classes))
    yield flow
    put_away(aws)


@pytest.fixture
def labelled(flow: Pipeline) -> Iterator[Pipeline]:
    """No retraining has run, and there is a label that the model has not learned."""
    sha = hashlib.sha256(b"photo").hexdigest()
    flow.aws.tables.labels.add(Label(sha, "bicycle", "ann", "2026-11-01T00:00:00Z"))
    yield flow
    flow.aws.bucket.remove([item.key for item in flow.aws.bucket.list("retrainings/")])
    flow.aws.bucket.remove(["flow/retrain.json"])


def test_an_interrupted_retraining_goes_on_with_its_phase(labelled: Pipeline) -> None:
    """It is the same one, with the reason it began for, whether a command or the state machine goes on."""
    first = begin_retraining(labelled, "because")
    save(labelled.aws, replace(first, phase=Phase.COMPARE, data_version="v", model_uri="s3://b/m"))
    again = begin_retraining(labelled, "another reason")
    assert again == replace(first, phase=Phase.COMPARE, data_version="v", model_uri="s3://b/m")
    taken = begin(labelled.aws, replace(labelled.settings, retrain="auto"), start(), Silent())
    assert (taken.id, taken.execution) == (first.id, EXECUTION)
    assert [each.id for each in history(labelled.aws)] == [first.id]


def test_a_flapping_alarm_starts_one_retraining_at_most(labelled: Pipeline) -> None:
    """Each alarm that comes after the first finds that no label is newer."""
    settings = replace(labelled.settings, retrain="auto", retrain_max_per_week=50)
    started = 0
    for number in range(10):
        asked = replace(
            start("alarm scones-x-drift", execution=f"{EXECUTION}{number}"),
            labels=replace(new_labels(labelled)),
        )
        try:
            found = begin(labelled.aws, settings, asked, Silent())
        except RetrainingRefused:
            continue
        started += 1
        end(labelled.aws, found, RetrainingOutcome.REFUSED, "not better", Silent())
    assert started == 1


def test_it_waits_for_a_deployment_and_for_a_decision(labelled: Pipeline) -> None:
    """One line says which command runs, or what waits."""
    with (
        deployment_lock(labelled.aws, "deploy", 60, Silent()),
        pytest.raises(EnvironmentBusy, match="locked by `scones deploy`"),
    ):
        retrain(labelled)
    waiting = save(labelled.aws, replace(begin_retraining(labelled, "because"), phase=Phase.APPROVE, challenger=2))
    with pytest.raises(RetrainingRefused, match="waits for your decision on model 2"):
        begin(labelled.aws, replace(labelled.settings, retrain="auto"), start(), Silent())
    assert retrain(labelled) == waiting


def challenge(flow: Pipeline, model: bytes, name: str, **settings: str) -> Retraining:
    """Compare this model with the live one, as a retraining does after its training."""
    uri = flow.aws.bucket.put(f"models/{name}/output/model.tar.gz", model)
    save_result(flow.aws, "train", TrainingResult(name, uri, "v", flow.settings.classes, {}, 0.0))
    found = replace(begin_retraining(flow, "because"), phase=Phase.COMPARE, data_version="v", labels=1, model_uri=uri)
    own = Pipeline(flow.aws, replace(flow.settings, **settings), Silent())  # type: ignore[arg-type]
    return continue_retraining(own, save(flow.aws, found))


def test_a_model_as_good_as_the_live_one_waits_for_a_person_who_may_say_no(
    labelled: Pipeline, tiny_model: bytes
) -> None:
    """The registry knows the model's parent, its labels and the reason; a no is the end of it."""
    found = challenge(labelled, tiny_model, "same", retrain="propose")
    package = labelled.aws.registry.get(found.challenger)
    assert (found.phase, package.approval) == (Phase.APPROVE, ApprovalStatus.PENDING)
    assert found.comparison
    assert found.comparison.passed
    assert (package.properties["parent-model"], package.properties["labels"]) == (str(found.champion), "1")
    assert package.properties["retraining-reason"] == "because"
    declined = decide_retraining(labelled, reject="not today")
    assert (declined.outcome, declined.why) == (RetrainingOutcome.DECLINED, "not today")
    assert labelled.aws.registry.get(found.challenger).approval is ApprovalStatus.REJECTED
    with pytest.raises(RetrainingRefused, match="no retraining waits"):
        decide_retraining(labelled)


def test_a_worse_model_is_rejected_and_the_live_one_stays(labelled: Pipeline, tmp_path: Path) -> None:
    """The reason is kept in the registry and in the record, for `scones status`."""
    folder = tmp_path / "swapped"
    write_tiny_model_file(folder, swapped=True)
    found = challenge(labelled, tar(folder), "worse")
    assert (found.phase, found.outcome) == (Phase.ENDED, RetrainingOutcome.REFUSED)
    package = labelled.aws.registry.get(found.challenger)
    assert package.approval is ApprovalStatus.REJECTED
    assert "not better than model" in package.reason
    assert found.why in package.reason
    last = current(labelled.aws)
    assert last
    assert last.outcome is RetrainingOutcome.REFUSED


def test_a_model_is_refused_that_learnt_labels_which_contradict_it(labelled: Pipeline, tmp_path: Path) -> None:
    """It answers as well as the live one: only its labels tell, which someone swapped."""
    folder = tmp_path / "poisoned"
    about = write_tiny_model_file(folder)
    learnt = OutOfFoldPredictions.load(folder / OUT_OF_FOLD)
    swapped = tuple("bicycle" if name == "motorcycle" else "motorcycle" for name in learnt.labels[:30])
    replace(learnt, labels=swapped + learnt.labels[30:]).save(folder / OUT_OF_FOLD)
    write_model_file(folder, about, "Poisoned.\n")
    found = challenge(labelled, tar(folder), "poisoned")
    assert found.outcome is RetrainingOutcome.REFUSED
    assert found.why.startswith("labels: of 30 new labels ")
    assert "`scones review corrections`, then run: scones retrain" in found.why
