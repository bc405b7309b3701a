"""The stack is brought up: said, shown, agreed to, and gone on with."""

import re
import uuid
from dataclasses import replace

import pytest

from access_keys import KEYS
from scones.aws.client import AwsError, Client
from scones.aws.cloudformation import DataAtRisk
from scones.aws.connection import Aws
from scones.config.settings import Settings
from scones.deployment.template import base_template
from scones.domain.decision import Outcome
from scones.domain.errors import SconesError
from scones.domain.progress import Silent
from scones.environment import auto_approve
from scones.pipeline import Pipeline
from scones.steps.up import ChangeApproval, up
from tiny_model import plain_photo, probability


class Heard(Silent):
    """Remembers what was said, and how far the stack was."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.steps: list[tuple[int, int]] = []

    def tell(self, line: str) -> None:
        """Remember."""
        self.lines.append(line)

    def progress(self, done: int, total: int, what: str, now: str = "") -> None:
        """Remember."""
        del what, now
        self.steps.append((done, total))


class No(SconesError):
    """The user declines."""


def refuse() -> None:
    """Say no."""
    raise No


def test_a_changed_threshold_reaches_the_workflow(own_flow: Pipeline) -> None:
    """A photo that was routed is held back once more certainty is asked for; nothing else changes."""
    photo = own_flow.upload("a.png", plain_photo(160))
    assert 0.8 < probability(160) < 0.95
    assert own_flow.classify_samples([photo]).count(Outcome.CLASSIFIED) == 1
    stricter = Pipeline(own_flow.aws, replace(own_flow.settings, threshold=0.95), Silent())
    assert stricter.up().threshold == 0.95
    assert stricter.classify_samples([photo]).count(Outcome.BELOW_THRESHOLD) == 1


def test_a_second_time_changes_nothing(own_flow: Pipeline) -> None:
    """What exists is left as it is."""
    assert own_flow.up() == own_flow.up()


def test_what_is_encrypted_told_and_deleted_is_chosen_by_settings(aws: Aws, settings: Settings) -> None:
    """A key, a budget, a reaper and traces where they are asked for; a key is never taken away again."""
    wanted = replace(settings, kms="yes", monthly_budget_dollars=20, endpoint_lifetime_hours=8, tracing="yes")
    Pipeline(aws, wanted, Silent()).up()
    assert aws.stack.find_output("KeyArn").startswith("arn:aws:kms:")
    budget = {"AccountId": aws.account, "BudgetName": aws.name}
    assert Client(settings, "budgets", KEYS).call("describe_budget", **budget)["Budget"]["BudgetLimit"] == {
        "Amount": "20",
        "Unit": "USD",
    }
    Pipeline(aws, settings, Silent()).up()
    assert aws.stack.find_output("KeyArn")
    with pytest.raises(AwsError, match="doesn't exist"):
        Client(settings, "budgets", KEYS).call("describe_budget", **budget)


def test_executions_call_what_was_published_last(own_flow: Pipeline) -> None:
    """The alias moves with a changed setting, and the version before is gone."""
    functions, name = Client(own_flow.settings, "lambda", KEYS), f"{own_flow.aws.name}-filter"
    live = {"FunctionName": name, "Name": "live"}
    before = functions.call("get_alias", **live)["FunctionVersion"]
    Pipeline(own_flow.aws, replace(own_flow.settings, threshold=0.9), Silent()).up()
    after = functions.call("get_alias", **live)["FunctionVersion"]
    versions = functions.call("list_versions_by_function", FunctionName=name)["Versions"]
    assert after != before
    assert [version["Version"] for version in versions] == ["$LATEST", after]


def test_price_and_checks_and_changes_are_said_before_anything_is_made(aws: Aws, settings: Settings) -> None:
    """Whoever then says no has made nothing: no stack, no bucket, and no empty stack under review."""
    heard = Heard()
    with pytest.raises(No):
        up(aws, settings, ChangeApproval(refuse, refuse), heard)
    first = [line.split()[0].rstrip(":") for line in heard.lines]
    assert first.index("price") < first.index("preflight") < first.index("changes")
    assert any(line.split()[:2] == ["add", "AWS::S3::Bucket"] for line in heard.lines)
    assert aws.stack.find() is None
    assert not aws.bucket.exists()


def test_progress_counts_the_resources(aws: Aws, settings: Settings) -> None:
    """It ends with all of them done, the foundation first; asked again, nothing is to be done."""
    heard = Heard()
    up(aws, settings, ChangeApproval(auto_approve, auto_approve), heard)
    ends = [step for step in heard.steps if step[0] == step[1]]
    assert len({total for _, total in ends}) == 2
    again = Heard()
    up(aws, settings, ChangeApproval(refuse, auto_approve), again)
    assert f"stack {aws.name} matches already" in again.lines


def test_a_stack_that_would_lose_data_is_not_touched(aws: Aws, settings: Settings) -> None:
    """A bucket outside the template would go, with what is in it: refused, and the stack can still be updated."""
    other = base_template()
    other["Resources"]["Old"] = {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": f"old-{uuid.uuid4().hex}"}}  # type: ignore[index]
    aws.stack.deploy(other, {"Env": aws.env}, Silent().tell)
    with pytest.raises(DataAtRisk, match=r"remove AWS::S3::Bucket Old.*--replace-data"):
        up(aws, settings, ChangeApproval(auto_approve, auto_approve), Silent())
    assert up(aws, settings, ChangeApproval(auto_approve, auto_approve, replace_data=True), Silent()).stack == aws.name


def test_killed_between_change_set_and_execution_it_goes_on(aws: Aws, settings: Settings) -> None:
    """A change set that was not executed leaves an empty stack under review; the next run takes its place."""
    assert aws.stack.prepare(base_template(), {"Env": aws.env}, Silent().tell)
    stood = aws.stack.find()
    assert stood
    assert stood.status == "REVIEW_IN_PROGRESS"
    assert up(aws, settings, ChangeApproval(auto_approve, auto_approve), Silent()).stack == aws.name


def test_killed_while_the_stack_is_made_it_is_waited_for(aws: Aws, settings: Settings) -> None:
    """Ctrl-C ends our watching, not CloudFormation's work; that is said, and the next run waits for it."""

    class Impatient(Heard):
        def progress(self, done: int, total: int, what: str, now: str = "") -> None:
            del done, total, what, now
            raise KeyboardInterrupt

    impatient = Impatient()
    with pytest.raises(KeyboardInterrupt) as stopped:
        up(aws, settings, ChangeApproval(auto_approve, auto_approve), impatient)
    named, priced = stopped.value.__notes__
    assert named == f"stack {aws.name} continues to change in the account; the same command waits for it again"
    assert re.fullmatch(r"on AWS the idle stack costs about \$\d+\.\d{3} an hour .*", priced)
    assert up(aws, settings, ChangeApproval(auto_approve, auto_approve), Silent()).stack == aws.name


def test_an_instance_without_a_price_is_no_error(aws: Aws, settings: Settings) -> None:
    """The price table cannot know every type; what it lacks is said."""
    heard = Heard()
    with pytest.raises(No):
        up(aws, replace(settings, endpoint_instance="ml.new.large"), ChangeApproval(refuse, refuse), heard)
    assert "no price for instance 'ml.new.large'" in heard.lines[0]
