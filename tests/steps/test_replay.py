"""Recorded decisions, made again: the same to the last bit, or what another model or threshold would have changed."""

import hashlib
import math
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import deployed_tiny
from scones.cli.render import render
from scones.dispatch.order_book import Write
from scones.domain.decision import Outcome
from scones.domain.errors import InvalidParameter
from scones.model.model_file import ABOUT, SUMS, ModelFile, read_model_file
from scones.pipeline import Pipeline
from scones.steps.classify import ClassifiedPhoto
from scones.steps.replay import CannotReplay, RejudgeResult
from scones_local.cloud import Cloud
from tiny_model import noisy_pngs, plain_photo, probability, tar, write_tiny_model_file


@pytest.fixture(scope="module")
def flow(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """An environment of this module's own, whose model has a guard, and that has decided about a few photos."""
    with deployed_tiny(cloud, tmp_path_factory.mktemp("replay"), guarded=True) as own:
        yield own


def classify(flow: Pipeline, *photos: bytes) -> list[ClassifiedPhoto]:
    """Send photos through the workflow."""
    samples = [flow.upload(f"{number}.png", photo) for number, photo in enumerate(photos)]
    return list(flow.classify_samples(samples).executions)


def other_model(folder: Path, **changes: str) -> ModelFile:
    """Write the tiny model again, with a part of its description changed."""
    write_tiny_model_file(folder)
    text = (folder / ABOUT).read_text()
    for before, after in changes.items():
        text = text.replace(before, after)
    (folder / ABOUT).write_text(text)
    sums = (folder / SUMS).read_text().splitlines()
    kept = [line for line in sums if not line.endswith(ABOUT)]
    digest = hashlib.sha256((folder / ABOUT).read_bytes()).hexdigest()
    (folder / SUMS).write_text("\n".join([*kept, f"{digest}  {ABOUT}"]) + "\n")
    return read_model_file(folder)


def test_every_kind_of_decision_is_rebuilt_bit_for_bit(flow: Pipeline) -> None:
    """Every outcome: photo, model and threshold give the very same record again."""
    executions = classify(flow, plain_photo(200), plain_photo(130), plain_photo(250), b"a letter", *noisy_pngs(6, 8))
    replayed = [flow.replay(execution.name) for execution in executions]
    assert [item.differences for item in replayed] == [()] * len(executions)
    assert [item.outcome for item in replayed[:4]] == list(Outcome)[:4]
    assert [item.confidence for item in replayed[:3]] == [item.confidence for item in executions[:3]]
    assert render(replayed[0]).splitlines()[-1] == "reproduced exactly"


def test_a_decision_is_rebuilt_by_the_model_that_made_it(flow: Pipeline, tmp_path: Path) -> None:
    """Once another model is behind the endpoint, the one before is found in the bucket by its version."""
    (execution,) = classify(flow, plain_photo(190))
    other = other_model(tmp_path / "other")
    flow.aws.bucket.put("models/a-newer-one/output/model.tar.gz", tar(tmp_path / "other"))
    found = flow.replay(execution.name)
    assert (found.differences, found.model_version != other.version) == ((), True)


def test_a_record_that_was_tampered_with_is_found_out(flow: Pipeline) -> None:
    """One digit of one probability is enough."""
    (execution,) = classify(flow, plain_photo(180))
    (key,) = flow.aws.tables.decisions.query({"execution": execution.name}, "by_execution")
    record = flow.aws.tables.decisions.get(key)
    assert record
    assert isinstance(record["inferences"], list)
    changed = [*record["inferences"][:-1], probability(181)]
    flow.aws.tables.decisions.write(Write(key, {"inferences": changed}))
    found = flow.replay(execution.name)
    assert [difference.split()[0] for difference in found.differences] == ["inferences"]
    flow.aws.tables.decisions.write(Write(key, {"inferences": record["inferences"]}))


def test_what_is_gone_is_named(flow: Pipeline) -> None:
    """An unknown execution, a photo that was deleted, and another photo in its place."""
    with pytest.raises(CannotReplay, match="no decision of execution 'unknown'"):
        flow.replay("unknown")
    sample = flow.upload("gone.png", plain_photo(175))
    (execution,) = flow.classify_samples([sample]).executions
    flow.aws.bucket.put(sample.key, plain_photo(176))
    with pytest.raises(CannotReplay, match="another photo lies at"):
        flow.replay(execution.name)
    flow.aws.bucket._client.call("delete_object", Bucket=flow.aws.bucket.name, Key=sample.key)
    with pytest.raises(CannotReplay, match="is gone"):
        flow.replay(execution.name)


def test_decisions_are_explained_on_a_page(flow: Pipeline, tmp_path: Path) -> None:
    """Those of photos that were read; each shows its photo, its evidence, and its true class where that is another."""
    executions = classify(flow, plain_photo(200), b"a letter", plain_photo(60))
    names = dict(zip([item.name for item in executions], ("bicycle", "bicycle", "bicycle"), strict=True))
    found = flow.explain(names, tmp_path / "made" / "page.html")
    page = (tmp_path / "made" / "page.html").read_text()
    assert (found.photos, page.count("<section>")) == (2, 2)
    assert page.count("truth: bicycle") == 1
    assert page.count("<img") == 4


def test_without_a_readable_photo_there_is_nothing_to_explain(flow: Pipeline, tmp_path: Path) -> None:
    """One line says so, and no page is written."""
    (execution,) = classify(flow, b"another letter")
    with pytest.raises(CannotReplay, match="none of these photos could be read"):
        flow.explain({execution.name: ""}, tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


def test_a_photo_that_is_gone_is_not_explained_and_costs_no_other_its_explanation(
    flow: Pipeline, tmp_path: Path
) -> None:
    """Nor is a decision of another model explained by this one."""
    gone, kept, foreign = (flow.upload(f"{level}.png", plain_photo(level)) for level in (201, 202, 203))
    executions = flow.classify_samples([kept, gone, foreign]).executions
    flow.aws.bucket.remove([gone.key])
    (key,) = flow.aws.tables.decisions.query({"execution": executions[2].name}, "by_execution")
    flow.aws.tables.decisions.write(Write(key, {"model_version": "another"}))
    found = flow.explain({item.name: "" for item in executions}, tmp_path / "page.html")
    assert found.photos == 1
    assert "202.png" in (tmp_path / "page.html").read_text()
    with pytest.raises(CannotReplay, match="none of these photos exists any more"):
        flow.explain({executions[1].name: ""}, tmp_path / "none.html")


def changes(judged: RejudgeResult) -> dict[str, int]:
    """What changed, and nothing of what is missing."""
    return dict(judged.changes)


def test_another_threshold_says_what_it_would_have_changed(own_flow: Pipeline) -> None:
    """Each photo counts once, by its newest decision; without a model the recorded probabilities are judged."""
    with pytest.raises(CannotReplay, match="no decision is recorded"):
        own_flow.rejudge(None, 0.95)
    classify(own_flow, plain_photo(40), plain_photo(160), plain_photo(161), plain_photo(130), plain_photo(40))
    assert 0.8 < probability(160) < 0.95 < 1 - probability(40)
    judged = own_flow.rejudge(None, 0.95)
    assert (judged.photos, judged.same, changes(judged)) == (
        4,
        2,
        {"motorcycle classified -> motorcycle below_threshold": 2},
    )
    assert changes(own_flow.rejudge(None, 0.5)) == {"motorcycle below_threshold -> motorcycle classified": 1}
    assert own_flow.rejudge(None, 0.8).changes == {}


@pytest.mark.parametrize("threshold", [80, -1, 0, 1, math.nan, math.inf])
def test_a_threshold_out_of_bounds_is_refused(flow: Pipeline, threshold: float) -> None:
    """As the setting of that name."""
    with pytest.raises(InvalidParameter, match=r"^threshold = .* must be a number above 0 and below 1$"):
        flow.rejudge(None, threshold)


def test_another_model_says_what_it_would_have_decided(own_flow: Pipeline, tmp_path: Path) -> None:
    """It is asked about the photos themselves; of a photo that is gone nothing is said."""
    sample = own_flow.upload("gone.png", plain_photo(220))
    own_flow.classify_samples([sample])
    classify(own_flow, plain_photo(40), plain_photo(200), plain_photo(250))
    own_flow.aws.bucket._client.call("delete_object", Bucket=own_flow.aws.bucket.name, Key=sample.key)
    turned = other_model(tmp_path / "turned", bicycle="tricycle")
    judged = own_flow.rejudge(tmp_path / "turned", None)
    assert (judged.model_version, judged.photos, judged.same, judged.missing) == (turned.version, 4, 2, 1)
    assert changes(judged) == {"bicycle classified -> tricycle classified": 1}
    write_tiny_model_file(tmp_path / "guarded", guarded=True)
    guarded = own_flow.rejudge(tmp_path / "guarded", None)
    assert changes(guarded) == {"motorcycle classified -> motorcycle out_of_distribution": 1}
