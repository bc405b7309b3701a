"""A serverless endpoint, which cannot capture: the classify function writes the records in its stead."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from conftest import deployed, new_settings, put_away
from scones.config.settings import Settings
from scones.data.decode import darken_and_blur
from scones.pipeline import Pipeline
from scones_local.cloud import Cloud
from tiny_model import noisy_pngs

PHOTOS = 40


@pytest.fixture(scope="module")
def serverless_flow(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory, tiny_model: bytes) -> Iterator[Pipeline]:
    """An environment whose endpoint is serverless; a test looks at all that it sends."""
    settings = new_settings(cloud, tmp_path_factory.mktemp("serverless"))
    flow = deployed(replace(settings, mode="serverless"), tiny_model)
    yield flow
    put_away(flow.aws)


def test_monitoring_works_on_a_serverless_endpoint_as_on_any(serverless_flow: Pipeline) -> None:
    """Every classified photo is captured once, in SageMaker's layout and form; a shift raises the alarm."""
    flow = serverless_flow
    for photos, alarm in (noisy_pngs(PHOTOS, 2), False), ([darken_and_blur(p) for p in noisy_pngs(PHOTOS, 3)], True):
        flow.classify_samples([flow.upload(f"{number}.png", photo) for number, photo in enumerate(photos)])
        result = flow.monitor(at_least=PHOTOS)
        assert (result.photos, result.malformed, result.verdict.alarm) == (PHOTOS, (), alarm)


def test_bringing_the_stack_up_again_keeps_the_capture(serverless_flow: Pipeline) -> None:
    """What `deploy` chose is no matter of `up`."""
    flow = serverless_flow
    flow.up()
    flow.classify_samples([flow.upload("a.png", noisy_pngs(1, 5)[0])])
    assert flow.monitor(at_least=1).photos == 1


@pytest.mark.slow
def test_back_on_instances_each_photo_is_captured_once(settings: Settings, tiny_model: bytes) -> None:
    """The function stops when the endpoint captures by itself."""
    serverless = deployed(replace(settings, mode="serverless"), tiny_model)
    try:
        flow = Pipeline(serverless.aws, settings, serverless.report)
        flow.deploy()
        flow.classify_samples([flow.upload("a.png", noisy_pngs(1, 5)[0])])
        assert flow.monitor(at_least=1).photos == 1
        assert flow.monitor().photos == 0
    finally:
        put_away(serverless.aws)
