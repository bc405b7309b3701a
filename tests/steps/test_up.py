from dataclasses import replace

import pytest

from conftest import KEYS
from scones.aws.client import AwsError, Client
from scones.aws.connection import Aws
from scones.flow import Flow
from scones.progress import Silent
from scones.settings import Settings
from scones.steps.classify import Outcome
from tiny_model import plain_photo, probability


def test_a_changed_threshold_reaches_the_workflow(own_flow: Flow) -> None:
    """A photo that was routed is held back once more certainty is asked for; nothing else changes."""
    photo = own_flow.upload("a.png", plain_photo(160))
    assert 0.8 < probability(160) < 0.95
    assert own_flow.classify_samples([photo]).count(Outcome.SUCCEEDED) == 1
    stricter = Flow(own_flow.aws, replace(own_flow.settings, threshold=0.95), Silent())
    assert stricter.up().threshold == 0.95
    assert stricter.classify_samples([photo]).count(Outcome.BELOW_THRESHOLD) == 1


def test_a_second_time_changes_nothing(own_flow: Flow) -> None:
    """What stands already is left as it is."""
    assert own_flow.up() == own_flow.up()


def test_what_is_encrypted_told_and_deleted_is_chosen_by_settings(aws: Aws, settings: Settings) -> None:
    """A key, a budget and a reaper stand where they are asked for; a key is never taken away again."""
    wanted = replace(settings, kms="yes", monthly_dollars=20, endpoint_hours=8)
    Flow(aws, wanted, Silent()).up()
    assert aws.stack.find_output("KeyArn").startswith("arn:aws:kms:")
    budget = {"AccountId": aws.account, "BudgetName": aws.name}
    assert Client(settings, "budgets", KEYS).call("describe_budget", **budget)["Budget"]["BudgetLimit"] == {
        "Amount": "20",
        "Unit": "USD",
    }
    Flow(aws, settings, Silent()).up()
    assert aws.stack.find_output("KeyArn")
    with pytest.raises(AwsError, match="doesn't exist"):
        Client(settings, "budgets", KEYS).call("describe_budget", **budget)


def test_executions_call_what_was_published_last(own_flow: Flow) -> None:
    """The alias moves with a changed setting, and the version before is gone."""
    functions, name = Client(own_flow.settings, "lambda", KEYS), f"{own_flow.aws.name}-filter"
    live = {"FunctionName": name, "Name": "live"}
    before = functions.call("get_alias", **live)["FunctionVersion"]
    Flow(own_flow.aws, replace(own_flow.settings, threshold=0.9), Silent()).up()
    after = functions.call("get_alias", **live)["FunctionVersion"]
    versions = functions.call("list_versions_by_function", FunctionName=name)["Versions"]
    assert after != before
    assert [version["Version"] for version in versions] == ["$LATEST", after]
