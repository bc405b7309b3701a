import json
import uuid
from dataclasses import replace

import pytest

from access_keys import KEYS
from conftest import new_settings
from faulty import Request, before
from scones.aws.client import Client
from scones.aws.cloudformation import ForeignStack
from scones.aws.connection import Aws, connect
from scones.config.settings import Settings
from scones.deployment.cleanup import inventory, owns_bucket
from scones.deployment.template import base_template
from scones.domain.naming import ENV_TAG
from scones.domain.progress import Silent
from scones.pipeline import Pipeline
from scones.steps.down import WrongRegion, down
from scones.steps.status import status
from scones_local.cloud import Cloud
from tiny_model import plain_photo


def kinds(items: tuple[str, ...]) -> set[str]:
    """The kinds of what an inventory names."""
    return {item.split()[0] for item in items}


def tagged(env: str) -> list[dict[str, str]]:
    """The tag that a stack of this environment passes on."""
    return [{"Key": ENV_TAG, "Value": f"scones-{env}"}]


def test_everything_goes_and_the_receipt_says_what(own_flow: Pipeline) -> None:
    """Each kind is named, deleted and looked for again; what it cost by the hour is told."""
    own_flow.classify_samples([own_flow.upload("a.png", plain_photo(200))])
    stood = status(own_flow.aws)
    assert (stood.stack, stood.endpoint) == ("UPDATE_COMPLETE", "InService")
    receipt = own_flow.down()
    assert set(receipt.existed) == set(receipt.deleted) == set(stood.resources)
    of_the_stack = {"bucket", "function", "state-machine", "queue", "topic", "table", "rule", "alarm", "dashboard"}
    of_the_stack |= {"repository", "build-project"}
    hosted = {"endpoint", "endpoint-config", "model", "model-package", "model-package-group"}
    assert of_the_stack | hosted | {"stack", "log-group", "role"} <= kinds(receipt.existed)
    assert receipt.objects > 0
    assert receipt.hourly_dollars_stopped == pytest.approx(0.115)
    assert (receipt.kept, receipt.remaining, inventory(own_flow.aws)) == ((), (), ())
    assert status(own_flow.aws).stack == ""


def test_going_down_twice_is_no_error(own_flow: Pipeline) -> None:
    """The second time there is nothing, and the receipt says so."""
    own_flow.down()
    receipt = own_flow.down()
    assert (receipt.deleted, receipt.objects, receipt.remaining, receipt.hourly_dollars_stopped) == ((), 0, (), 0)


class Heard(Silent):
    """A reporter that keeps its lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def tell(self, line: str) -> None:
        """Keep one."""
        self.lines.append(line)


def start_update(flow: Pipeline, seconds: int) -> None:
    """Let SageMaker update the endpoint to a copy of its configuration, and watch it for so many *seconds*."""
    aws, client = flow.aws, Client(flow.settings, "sagemaker", KEYS)
    live = aws.sagemaker.find_endpoint(aws.name)
    assert live
    config = f"{aws.prefix}{uuid.uuid4().hex[:8]}"
    variants = client.call("describe_endpoint_config", EndpointConfigName=live.config)["ProductionVariants"]
    client.call("create_endpoint_config", EndpointConfigName=config, ProductionVariants=variants)
    routing = {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": seconds}
    watched = {"BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": routing}}
    client.call("update_endpoint", EndpointName=aws.name, EndpointConfigName=config, DeploymentConfig=watched)


@pytest.mark.parametrize(
    ("moment", "seconds", "lines"),
    [("DeregisterScalableTarget", 10, 1), ("DeleteEndpoint", 0, None)],
    ids=["before", "between looking and deleting"],
)
def test_an_endpoint_that_is_changing_goes_once_sagemaker_lets_it(
    cloud: Cloud, own_flow: Pipeline, moment: str, seconds: int, lines: int | None
) -> None:
    """SageMaker refuses to delete it meanwhile: `down` says so, waits, and leaves nothing that costs money."""
    started = list[str]()

    def start_first(request: Request) -> None:
        if request.operation == moment and not started:
            started.append(moment)
            start_update(own_flow, seconds)

    with before(cloud.port, decide=start_first) as between:
        aws = connect(replace(own_flow.settings, endpoint_url=between.url), KEYS)
        report = Heard()
        assert down(aws, report).remaining == ()
    assert started == [moment]
    waited = [line for line in report.lines if "waiting until SageMaker lets it be deleted" in line]
    assert lines is None or len(waited) == lines
    assert inventory(own_flow.aws) == ()


def test_a_wait_for_the_endpoint_can_be_interrupted_and_repeated(cloud: Cloud, own_flow: Pipeline) -> None:
    """Ctrl-C stops the waiting only: the endpoint goes on settling, and the same command goes on."""

    class Impatient(Silent):
        def tell(self, line: str) -> None:
            """Press Ctrl-C at the line that says what is waited for."""
            if "waiting until SageMaker lets it be deleted" in line:
                raise KeyboardInterrupt

    started = list[str]()

    def start_first(request: Request) -> None:
        if request.operation == "DeregisterScalableTarget" and not started:
            started.append(request.operation)
            start_update(own_flow, 10)

    with before(cloud.port, decide=start_first) as between, pytest.raises(KeyboardInterrupt):
        down(connect(replace(own_flow.settings, endpoint_url=between.url), KEYS), Impatient())
    assert own_flow.aws.sagemaker.find_endpoint(own_flow.aws.name)
    assert down(own_flow.aws, Silent()).remaining == ()
    assert inventory(own_flow.aws) == ()


def test_environments_whose_names_begin_alike_stay(own_flow: Pipeline) -> None:
    """`dev` and `dev-two` are taken down beside `dev-one` and `dev`, which stand as they stood."""
    before = inventory(own_flow.aws)
    env = own_flow.settings.env
    longer = connect(replace(own_flow.settings, env=f"{env}-two"), KEYS)
    longer.stack.deploy(base_template(), {"Env": longer.env}, Silent().tell)
    standing = inventory(longer)
    down(connect(replace(own_flow.settings, env=env[:-1]), KEYS), Silent())
    assert (inventory(own_flow.aws), inventory(longer)) == (before, standing)
    own_flow.down()
    assert inventory(longer) == standing
    down(longer, Silent())
    assert inventory(longer) == ()


def test_what_outlived_its_stack_goes_too_whichever_version_made_it(aws: Aws, settings: Settings) -> None:
    """No stack is left, but a bucket, a table, a queue and a function's name that this version has never heard of."""
    aws.bucket._client.call("create_bucket", Bucket=aws.bucket.name)
    aws.bucket._client.call("put_bucket_tagging", Bucket=aws.bucket.name, Tagging={"TagSet": tagged(aws.env)})
    aws.bucket.put("left.txt", b"behind")
    aws.tables._client.call(
        "create_table",
        TableName=aws.tables.orders.name,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "order_id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "order_id", "KeyType": "HASH"}],
        Tags=tagged(aws.env),
    )
    Client(settings, "sqs", KEYS).call("create_queue", QueueName=f"{aws.name}-future", tags={ENV_TAG: aws.name})
    Client(settings, "ecr", KEYS).call("create_repository", repositoryName=aws.name, tags=tagged(aws.env))
    logs = Client(settings, "logs", KEYS)
    logs.call("create_log_group", logGroupName=f"/aws/lambda/{aws.name}-filter")
    receipt = down(aws, Silent())
    assert kinds(receipt.deleted) == {"bucket", "table", "queue", "repository", "log-group"}
    assert receipt.remaining == ()
    assert not aws.bucket.exists()
    assert not aws.tables.orders.exists()


def test_what_scones_did_not_make_stays(aws: Aws, settings: Settings) -> None:
    """A bucket of the very name without our tag, a user's log group and queue that begin alike: untouched."""
    sqs, logs = Client(settings, "sqs", KEYS), Client(settings, "logs", KEYS)
    group = f"/aws/lambda/{aws.name}-mine"
    url = sqs.call("create_queue", QueueName=f"{aws.name}-mine")["QueueUrl"]
    logs.call("create_log_group", logGroupName=group)
    aws.bucket._client.call("create_bucket", Bucket=aws.bucket.name)
    aws.bucket.put("theirs.txt", b"theirs")
    assert inventory(aws) == ()
    receipt = down(aws, Silent())
    assert (receipt.existed, receipt.remaining) == ((), ())
    assert aws.bucket.get("theirs.txt") == b"theirs"
    assert (aws.logs.groups(group), sqs.call("get_queue_url", QueueName=f"{aws.name}-mine")["QueueUrl"]) == (
        [group],
        url,
    )
    sqs.call("delete_queue", QueueUrl=url)
    aws.logs.delete_group(group)
    aws.bucket.empty()
    aws.bucket.delete()


def test_a_stack_that_scones_did_not_make_is_refused_by_every_verb(aws: Aws, settings: Settings) -> None:
    """It bears the environment's name without its tag: one line says so, and nothing of it is touched."""
    client = Client(settings, "cloudformation", KEYS)
    body = {"Resources": {"Topic": {"Type": "AWS::SNS::Topic"}}}
    client.call("create_stack", StackName=aws.name, TemplateBody=json.dumps(body))
    for verb in (
        lambda: down(aws, Silent()),
        lambda: aws.stack.deploy(base_template(), {"Env": aws.env}, Silent().tell),
    ):
        with pytest.raises(ForeignStack, match=r"not created by Scones.*use another --env"):
            verb()
    assert client.call("describe_stacks", StackName=aws.name)["Stacks"][0]["StackStatus"].startswith("CREATE_")
    client.call("delete_stack", StackName=aws.name)
    client._boto.get_waiter("stack_delete_complete").wait(StackName=aws.name, WaiterConfig={"Delay": 1})


def test_data_is_kept_and_taken_up_again(own_flow: Pipeline) -> None:
    """With --keep-data photos, models and records stay in their bucket, and no more; `up` finds them again."""
    own_flow.upload("a.png", plain_photo(200))
    keys = {item.key for item in own_flow.aws.bucket.list()}
    receipt = own_flow.down(keep_data=True)
    assert receipt.remaining == ()
    image, models = {"repository", "build-project", "log-group"}, {"model-package", "model-package-group"}
    assert kinds(receipt.kept) == {"stack", "bucket", "role", "topic", "alarm"} | image | models
    assert {"endpoint", "function", "table", "state-machine", "rule", "queue"} <= kinds(receipt.deleted)
    assert 0.1 < receipt.monthly_dollars_kept < 0.2
    assert {item.key for item in own_flow.aws.bucket.list()} == keys
    assert set(inventory(own_flow.aws)) == set(receipt.kept)
    again = own_flow.down(keep_data=True)
    assert (again.deleted, again.remaining, again.kept) == ((), (), receipt.kept)
    own_flow.up()
    own_flow.deploy()
    assert own_flow.classify_samples([own_flow.upload("b.png", plain_photo(200))]).executions
    assert own_flow.down().remaining == ()
    assert not owns_bucket(own_flow.aws)


def test_the_wrong_region_is_told_by_the_right_one(settings: Settings) -> None:
    """There is nothing here, but a bucket of this environment names the region where it does."""
    env = "e" + settings.env[1:]
    here = connect(replace(settings, env=env), KEYS)
    bucket = here.bucket.beside(f"{here.name}-{here.account}-eu-west-1")
    bucket._client.call("create_bucket", Bucket=bucket.name)
    with pytest.raises(WrongRegion, match=f"AWS_REGION=eu-west-1 scones down --env {env}"):
        down(here, Silent())
    bucket.delete()
    assert down(here, Silent()).remaining == ()


@pytest.mark.slow
def test_what_this_version_cannot_delete_is_named(cloud: Cloud, settings: Settings) -> None:
    """A later version's tagged cluster stays: it is on the receipt by its ARN, until it is deleted by hand."""
    later = connect(new_settings(cloud, settings.state), KEYS)
    client = Client(settings, "ecs", KEYS)
    arn = client.call("create_cluster", clusterName=later.name, tags=[{"key": ENV_TAG, "value": later.name}])[
        "cluster"
    ]["clusterArn"]
    assert down(later, Silent()).remaining == (f"resource {arn}",)
    client.call("delete_cluster", cluster=arn)
    assert down(later, Silent()).remaining == ()
