"""The policies for whoever runs Scones, as docs/ has them."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from conftest import deployed, new_settings
from recording import recording
from scones_local.cloud import Cloud
from tiny_model import noisy_pngs

DOCS = Path(__file__).parents[2] / "docs"
FREE = {"sts:GetCallerIdentity"}
LONGEST = {"commands": 6_144, "stack": 10_240}
"""Characters that a managed policy, and that all inline policies of a role, may have without their spaces.

Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
"""


def policy(name: str) -> list[dict[str, Any]]:
    """One policy's statements."""
    found: list[dict[str, Any]] = json.loads((DOCS / f"{name}-policy.json").read_text())["Statement"]
    return found


@pytest.mark.parametrize("name", LONGEST)
def test_each_policy_fits_where_it_is_to_be_put(name: str) -> None:
    """IAM counts what is not white space."""
    assert len(json.dumps(policy(name), separators=(",", ":"))) < LONGEST[name]


@pytest.mark.parametrize("name", LONGEST)
def test_nothing_is_allowed_beyond_our_own_names_but_what_cannot_be_narrowed(name: str) -> None:
    """Every statement but the last says `scones`; of keys, whose names cannot be chosen, by their tag."""
    *named, anywhere = policy(name)
    for statement in named:
        where = str(statement["Condition"]) if "Condition" in statement else ""
        resources = [where] if statement["Resource"] == "*" else statement["Resource"]
        assert all("scones-" in resource or "/aws/sagemaker/" in resource for resource in resources)
    assert (anywhere["Sid"], anywhere["Resource"]) == ("Anywhere", "*")
    assert not [action for statement in (*named, anywhere) for action in statement["Action"] if "*" in action]


@pytest.mark.slow
def test_the_commands_call_nothing_that_their_policy_does_not_allow(
    cloud: Cloud, tmp_path: Path, tiny_model: bytes
) -> None:
    """From the foundation to the last of it, each call is one that the policy names."""
    with recording(cloud.port) as recorder:
        flow = deployed(replace(new_settings(cloud, tmp_path), endpoint_url=recorder.url), tiny_model)
        try:
            flow.classify_samples([flow.upload(f"{n}.png", photo) for n, photo in enumerate(noisy_pngs(30, seed=1))])
            flow.classify_batch(flow.aws.bucket.uri("asked/"))
            flow.monitor(at_least=30)
            flow.status()
        finally:
            flow.down()
    called = {call.action for call in recorder.calls}
    assert len(called) > 30
    assert called - FREE - {action for statement in policy("commands") for action in statement["Action"]} == set()
