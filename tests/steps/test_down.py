from dataclasses import replace

from scones.aws.client import Client, Credentials
from scones.aws.connection import Aws, connect
from scones.aws.inventory import inventory
from scones.flow import Flow
from scones.progress import Silent
from scones.release import template
from scones.steps.down import down
from scones.steps.status import status
from tiny_model import plain_photo


def of_the_stack(flow: Flow) -> list[str]:
    """What watches by itself: functions, their schedule, alarms, the dashboard."""
    listings = [
        ("lambda", "list_functions", "Functions", "FunctionName", {}),
        ("events", "list_rules", "Rules", "Name", {"NamePrefix": flow.aws.name}),
        ("cloudwatch", "describe_alarms", "MetricAlarms", "AlarmName", {"AlarmNamePrefix": flow.aws.name}),
        ("cloudwatch", "list_dashboards", "DashboardEntries", "DashboardName", {"DashboardNamePrefix": flow.aws.name}),
    ]
    found = []
    for service, operation, members, name, query in listings:
        client = Client(flow.settings, service, Credentials("local", "local"))
        items = client.call(operation, **query)[members]
        found += [f"{service} {item[name]}" for item in items if item[name].startswith(flow.aws.name)]
    return found


def test_everything_goes_and_the_receipt_says_what(own_flow: Flow) -> None:
    """Endpoint, configuration, model, stack, bucket and logs: named, deleted, and looked for again."""
    own_flow.classify_samples([own_flow.upload("a.png", plain_photo(200))])
    stood = status(own_flow.aws)
    assert {f"cloudwatch {own_flow.aws.name}-drift", f"events {own_flow.aws.name}-monitor"} < set(
        of_the_stack(own_flow)
    )
    assert (stood.stack, stood.endpoint) == ("UPDATE_COMPLETE", "InService")
    receipt = own_flow.down()
    assert set(receipt.deleted) == set(stood.standing)
    kinds = {"endpoint", "endpoint-config", "model", "model-package", "model-package-group", "stack", "bucket"}
    assert {item.split()[0] for item in receipt.deleted} == kinds | {"log-group", "table"}
    assert receipt.objects > 0
    assert (receipt.left, inventory(own_flow.aws)) == ((), ())
    assert status(own_flow.aws).stack == ""
    assert of_the_stack(own_flow) == []


def test_going_down_twice_is_no_error(own_flow: Flow) -> None:
    """The second time there is nothing, and the receipt says so."""
    own_flow.down()
    receipt = own_flow.down()
    assert (receipt.deleted, receipt.objects, receipt.left) == ((), 0, ())


def test_what_another_environment_made_stays(own_flow: Flow) -> None:
    """An environment whose name merely begins alike goes down, and this one stands as it stood."""
    before = inventory(own_flow.aws)
    shorter = replace(own_flow.settings, env=own_flow.settings.env[:-1])
    down(connect(shorter, Credentials("local", "local")), Silent())
    assert inventory(own_flow.aws) == before


def test_what_outlived_its_stack_goes_too(aws: Aws) -> None:
    """A stack that was deleted by hand, its bucket and a table retained, leaves nothing to pay for."""
    aws.stack.deploy(template(), {"Env": aws.env}, Silent().tell)
    aws.stack.delete()
    aws.bucket._client.call("create_bucket", Bucket=aws.bucket.name)
    aws.bucket.put("left.txt", b"behind")
    aws.tables._client.call(
        "create_table",
        TableName=aws.tables.orders.name,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "order_id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "order_id", "KeyType": "HASH"}],
    )
    assert down(aws, Silent()).left == ()
    assert not aws.bucket.exists()
    assert not aws.tables.orders.exists()
