"""The monitor uses days of traffic as its baseline once a user says that they were normal."""

from collections.abc import Iterator

import numpy as np
import pytest

from scones.domain.naming import features_prefix, learned_baseline_key
from scones.environment import load_result
from scones.monitoring.drift.features import FEATURES
from scones.monitoring.drift.traffic import RecordedTraffic, TooFewDays
from scones.monitoring.performance.registered_model import open_model
from scones.pipeline import Pipeline
from scones.steps.deploy import DeployResult

PHOTOS = 25


@pytest.fixture
def kept(flow: Pipeline) -> Iterator[list[str]]:
    """The keys below which a test keeps days; all of it is removed afterwards, and the learned baseline."""
    keys: list[str] = []
    yield keys
    flow.learn(0)
    flow.aws.bucket.remove(keys)


def keep(flow: Pipeline, day: int, model: str) -> str:
    """Keep one day of 1999, as a run would have."""
    names = tuple(f"{day}-{number}" for number in range(PHOTOS))
    times = tuple(f"1999-01-{day:02d}T00:00:{number:02d}Z" for number in range(PHOTOS))
    values = np.random.default_rng(day).normal(size=(PHOTOS, len(FEATURES)))
    key = f"{features_prefix(flow.aws.name)}1999/01/{day:02d}/000000.npz"
    flow.aws.bucket.put(key, RecordedTraffic(model, names, times, names, np.full((PHOTOS, 2), 0.5), values).to_bytes())
    return key


def test_recorded_days_are_learned_and_forgotten(flow: Pipeline, kept: list[str]) -> None:
    """Six days are the baseline of this model until 0 forgets them; four are refused, and change nothing."""
    bucket = flow.aws.bucket
    deployed = load_result(flow.aws, "deploy", DeployResult)
    model = open_model(bucket.get(bucket.key(deployed.model_uri))).version
    standing = [item.key for item in bucket.list(features_prefix(flow.aws.name))]
    bucket.remove(standing)
    kept += [keep(flow, day, model) for day in range(1, 5)]
    with pytest.raises(TooFewDays):
        flow.learn(14)
    assert bucket.find(learned_baseline_key(model)) is None
    kept += [keep(flow, day, model) for day in range(5, 7)]
    learned = flow.learn(14)
    assert (learned.photos, learned.days) == (6 * PHOTOS, 6)
    assert bucket.find(learned_baseline_key(model)) is not None
    flow.learn(0)
    assert bucket.find(learned_baseline_key(model)) is None
