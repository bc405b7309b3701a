"""Environments live side by side in one account: nothing of one is the other's."""

from pathlib import Path

import pytest

from conftest import deployed, new_settings
from scones.deployment.cleanup import inventory
from scones.domain.decision import Outcome
from scones.pipeline import Pipeline
from scones_local.cloud import Cloud
from tiny_model import plain_photo


@pytest.mark.slow
def test_one_environment_goes_and_the_other_serves_on(
    own_flow: Pipeline, cloud: Cloud, tmp_path: Path, tiny_model: bytes
) -> None:
    """Both are complete with names of their own; when one is deleted, the other works as before."""
    other = deployed(new_settings(cloud, tmp_path / "other"), tiny_model)
    try:
        standing = set(inventory(other.aws))
        shared = standing & set(inventory(own_flow.aws))
        # Registered models are named by their number, within the group of their own environment.
        assert {item for item in shared if not item.startswith("model-package ")} == set()
        for flow in (own_flow, other):
            assert flow.classify_samples([flow.upload("a.png", plain_photo(220))]).count(Outcome.CLASSIFIED) == 1
        own_flow.down()
        assert inventory(own_flow.aws) == ()
        assert standing <= set(inventory(other.aws))
        assert other.classify_samples([other.upload("b.png", plain_photo(221))]).count(Outcome.CLASSIFIED) == 1
    finally:
        other.down()
