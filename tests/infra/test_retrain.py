"""The retraining's state machine at work: an alarm starts it, a person decides, and its role allows what it calls."""

import hashlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from access_keys import KEY, KEYS
from conftest import deployed, new_settings
from infra.policies import grants
from infra.test_iam import BY_AWS, FREE, Recorded, names, record
from recording import recording
from scones.aws.client import Client
from scones.aws.registry import ApprovalStatus
from scones.cli.session import PROGRAMS
from scones.data.dataset import Dataset, Split, labelled_photo
from scones.data.labels import Label
from scones.deployment.retrainings import Phase, Retraining, RetrainingOutcome, current, skipped
from scones.domain.naming import labelled_key, to_iso8601
from scones.domain.progress import Silent
from scones.environment import load_result, save_result
from scones.pipeline import Pipeline
from scones.retraining import decide_retraining
from scones.steps.deploy import DeployResult
from scones.steps.retrain import SCHEDULE
from scones.steps.stage import stage
from scones_local.cloud import start, stop
from tiny_model import noisy_pngs
from waiting import eventually

pytestmark = pytest.mark.slow

TRAIN = (sys.executable, str(Path(__file__).with_name("tiny_train.py")))
CLASSES = ("bicycle", "motorcycle")
COUNTS: dict[Split, int] = {"train": 30, "test": 170}
UPDATED = "arn:${AWS::Partition}:sagemaker:${AWS::Region}:${AWS::AccountId}:endpoint-config/scones-${Env}--*"
"""UpdateEndpoint needs the right for both, and the recorder knows the endpoint alone."""
PHOTOS = 6
"""So many are sent to the live model."""


@dataclass(frozen=True)
class Loop:
    """An environment that retrains by itself and asks before it deploys; what its functions called is written down."""

    flow: Pipeline

    def label(self, seed: int) -> None:
        """Have a person label a photo that no model has learned."""
        (photo,) = noisy_pngs(1, seed=seed)
        sha, bucket = hashlib.sha256(photo).hexdigest(), self.flow.aws.bucket
        uri = bucket.put(labelled_key(sha), photo)
        self.flow.aws.tables.labels.add(Label(sha, "bicycle", "ann", to_iso8601(datetime.now(UTC)), uri=uri))

    def alarm(self) -> None:
        """Have the drift alarm fire, and be over."""
        cloudwatch = Client(self.flow.settings, "cloudwatch", KEYS)
        for state in ("ALARM", "OK"):
            name = f"{self.flow.aws.name}-drift"
            cloudwatch.call("set_alarm_state", AlarmName=name, StateValue=state, StateReason="a test")

    def schedule(self) -> None:
        """Start what the daily rule starts, as it does."""
        events = Client(self.flow.settings, "events", KEYS)
        (target,) = events.call("list_targets_by_rule", Rule=f"{self.flow.aws.name}-retrain")["Targets"]
        states = Client(self.flow.settings, "stepfunctions", KEYS)
        states.call("start_execution", stateMachineArn=target["Arn"], input=target["Input"])

    def executions(self) -> list[str]:
        """The states of all executions, the oldest first."""
        arn = self.flow.aws.stack.find_output("RetrainWorkflowArn")
        listed = Client(self.flow.settings, "stepfunctions", KEYS).call("list_executions", stateMachineArn=arn)
        found = sorted(listed["executions"], key=lambda each: str(each["startDate"]))
        return [each["status"] for each in found]

    def reaches(self, count: int, *states: str) -> bool:
        """Whether so many executions have started and the last one gets to one of *states*."""
        return eventually(lambda: len(found := self.executions()) == count and found[-1] in states, 240)

    def waits(self, number: int) -> Retraining:
        """The retraining that waits for a person, of the execution with this number."""
        assert eventually(lambda: bool((it := current(self.flow.aws)) and it.token), 240), self.executions()
        assert self.executions()[number:] == ["RUNNING"]
        found = current(self.flow.aws)
        assert found
        return found


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory, tiny_model: bytes) -> Iterator[tuple[Loop, Recorded]]:
    """An alarm without labels; then the schedule, whose first model a person rejects, and whose second is approved."""
    folder = tmp_path_factory.mktemp("retrain")
    cloud = start(folder / "cloud", programs=replace(PROGRAMS, train=TRAIN), key=KEY)
    try:
        settings = replace(new_settings(cloud, folder), retrain="propose", retrain_labels=1)
        flow = deployed(settings, tiny_model)
        stage_photos(flow)
        with recording(cloud.port) as recorder:
            record(flow, recorder, capture="no")
            loop = Loop(flow)
            work(loop)
            yield loop, Recorded(frozenset(recorder.calls), names(flow), tuple(recorder.faults))
    finally:
        stop(cloud)


def stage_photos(flow: Pipeline) -> None:
    """Stage photos of both classes, whose labels mean nothing: the same model answers them all the same."""
    photos = [
        labelled_photo(f"{split}-{place}.png", CLASSES[place % 2], split, photo)
        for split, count in COUNTS.items()
        for place, photo in enumerate(noisy_pngs(count, seed=count))
    ]
    save_result(
        flow.aws, "stage", stage(flow.aws, flow.settings, Dataset("n", "photos", tuple(photos), CLASSES), Silent())
    )


def work(loop: Loop) -> None:
    """Let alarms start it, and decide."""
    flow = loop.flow
    loop.alarm()
    assert loop.reaches(1, "SUCCEEDED")
    refused = skipped(flow.aws)
    assert refused
    assert refused.reason == f"alarm {flow.aws.name}-drift"
    assert "nothing new to learn" in refused.why
    flow.classify_samples([flow.upload(f"{n}.png", photo) for n, photo in enumerate(noisy_pngs(PHOTOS, seed=7))])
    flow.monitor(at_least=PHOTOS)
    loop.label(seed=101)
    loop.schedule()
    loop.waits(1)
    # An alarm that fires meanwhile starts no second one.
    loop.alarm()
    assert loop.reaches(3, "SUCCEEDED")
    declined = decide_retraining(flow, reject="not today")
    assert (declined.outcome, declined.why) == (RetrainingOutcome.DECLINED, "not today")
    assert eventually(lambda: loop.executions() == ["SUCCEEDED"] * 3, 120)
    loop.label(seed=102)
    loop.schedule()
    loop.waits(3)
    asked = decide_retraining(flow)
    assert asked.phase is Phase.DEPLOY
    assert loop.reaches(4, "SUCCEEDED", "FAILED")


def test_a_person_s_approval_lets_the_execution_deploy(recorded: tuple[Loop, Recorded]) -> None:
    """The model that was rejected stays rejected, and the approved one serves; each alarm started an execution."""
    loop, _ = recorded
    flow = loop.flow
    assert loop.executions() == ["SUCCEEDED"] * 4, current(flow.aws)
    last = current(flow.aws)
    assert last
    assert (last.outcome, last.reason) == (RetrainingOutcome.DEPLOYED, SCHEDULE)
    assert last.comparison
    assert last.comparison.shadow
    assert (last.comparison.shadow.n, last.comparison.shadow.agree) == (PHOTOS, PHOTOS)
    live = load_result(flow.aws, "deploy", DeployResult)
    assert (live.release, live.package) == (2, last.challenger)
    approvals = [flow.aws.registry.get(number).approval for number in flow.aws.registry.numbers()]
    assert approvals.count(ApprovalStatus.REJECTED) == 1


SCALING = "pauses and resumes a scaled endpoint, which this one is not"
TAGS = "AWS asks for it where something is created with tags"
KEY_OF_ENV = "SageMaker encrypts with the environment's key, which this one has not"
PRUNED = "the fourth release deletes the first"
SPARE = {
    "application-autoscaling:PutScalingPolicy": SCALING,
    "application-autoscaling:RegisterScalableTarget": SCALING,
    "cloudwatch:PutMetricAlarm": SCALING,
    "iam:CreateServiceLinkedRole": SCALING,
    "sagemaker:UpdateEndpointWeightsAndCapacities": SCALING,
    "kms:CreateGrant": KEY_OF_ENV,
    "kms:DescribeKey": KEY_OF_ENV,
    "sagemaker:DeleteEndpointConfig": PRUNED,
    "sagemaker:DeleteModel": PRUNED,
    "sagemaker:AddTags": TAGS,
    "ecr:DescribeImages": "names the image by its digest; the local cloud runs none",
    "iam:PassRole": "AWS asks for it where a model is created with a role",
    "logs:GetLogEvents": "shows the training job's log, which this one does not write",
}
"""Actions that this test does not need, though the code does on AWS, or in another environment."""


def test_the_retraining_s_role_allows_what_it_calls_and_no_more(recorded: tuple[Loop, Recorded]) -> None:
    """On AWS a call that the role does not allow would fail, and what is spare could be abused."""
    _, found = recorded
    mine = [grant for grant in grants() if grant.role == "RetrainRole"]
    calls = {call for call in found.calls if call.who == "RetrainRole" and call.action not in FREE}
    used = {
        (call, grant.action, pattern)
        for call in calls
        for grant in mine
        for pattern in grant.resources
        if grant.action == call.action and found.matches(call, pattern)
    }
    assert sorted(calls - {call for call, _, _ in used}) == []
    spare = {(grant.action, pattern) for grant in mine for pattern in grant.resources if grant.action not in BY_AWS}
    spare -= {(action, pattern) for _, action, pattern in used}
    assert sorted(each for each in spare if each[0] not in SPARE) == [
        ("s3:DeleteObject", "${Bucket.Arn}/releases/*"),  # with the release that is pruned
        ("sagemaker:UpdateEndpoint", UPDATED),
    ]
    assert {action for action, _ in spare} >= set(SPARE)
    assert found.faults == ()
