"""Step Functions in the local cloud: what the stock interpreter got wrong is right."""

import json
import time
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from aws_calls import ROLE, machine, task
from waiting import eventually

WAIT = {"StartAt": "W", "TimeoutSeconds": 1, "States": {"W": {"Type": "Wait", "Seconds": 30, "End": True}}}


def test_errors_are_caught_by_their_class(clients: Any, function: Any) -> None:
    """A Catch that names the exception's class catches it, and a Fail state passes its name on."""
    states = {
        "Ask": task(
            function.arn,
            Catch=[{"ErrorEquals": ["TooDark"], "ResultPath": "$.error", "Next": "Stop"}],
            End=True,
        ),
        "Stop": {"Type": "Fail", "ErrorPath": "$.error.Error", "CausePath": "$.error.Cause"},
    }
    arn = machine(clients, {"StartAt": "Ask", "States": states})
    reply = clients.stepfunctions.start_sync_execution(stateMachineArn=arn, input='{"dark": true}')
    assert (reply["status"], reply["error"]) == ("FAILED", "TooDark")
    assert json.loads(reply["cause"])["errorMessage"] == "no light"
    assert "output" not in reply


@pytest.mark.slow
def test_retries_name_the_class_and_keep_to_their_longest_delay(clients: Any, function: Any) -> None:
    """A Retry by class runs the function again, and MaxDelaySeconds bounds the growing pause."""
    retry = {
        "ErrorEquals": ["TooDark"],
        "IntervalSeconds": 1,
        "MaxAttempts": 2,
        "BackoffRate": 60,
        "MaxDelaySeconds": 2,
    }
    arn = machine(clients, {"StartAt": "Ask", "States": {"Ask": task(function.arn, Retry=[retry], End=True)}})
    began = time.monotonic()
    reply = clients.stepfunctions.start_sync_execution(stateMachineArn=arn, input='{"dark": true}')
    assert reply["error"] == "TooDark"
    assert 2.9 < time.monotonic() - began < 45
    assert function()[0]["calls"] == 4


def test_a_notice_carries_its_attributes(clients: Any) -> None:
    """sns:publish delivers the message, as JSON where it is an object, and the message's attributes."""
    name = f"notice-{uuid.uuid4().hex[:8]}"
    topic = clients.sns.create_topic(Name=name)["TopicArn"]
    queue = clients.sqs.create_queue(QueueName=name)["QueueUrl"]
    arn = clients.sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    clients.sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    attributes = {
        "error": {"DataType": "String", "StringValue.$": "$.error"},
        "n": {"DataType": "Number", "StringValue": "1"},
    }
    parameters = {"TopicArn": topic, "Message": {"why.$": "$.error"}, "MessageAttributes": attributes}
    state = {"Type": "Task", "Resource": "arn:aws:states:::sns:publish", "Parameters": parameters, "End": True}
    machine_arn = machine(clients, {"StartAt": "Tell", "States": {"Tell": state}})
    clients.stepfunctions.start_sync_execution(stateMachineArn=machine_arn, input='{"error": "TooDark"}')
    (message,) = clients.sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=20)["Messages"]
    envelope = json.loads(message["Body"])
    assert json.loads(envelope["Message"]) == {"why": "TooDark"}
    assert envelope["MessageAttributes"]["error"] == {"Type": "String", "Value": "TooDark"}


def test_a_machines_time_limit_holds(clients: Any) -> None:
    """TimeoutSeconds at the top ends a waiting execution with States.Timeout, both kinds of machine."""
    began = time.monotonic()
    reply = clients.stepfunctions.start_sync_execution(stateMachineArn=machine(clients, WAIT), input="{}")
    assert (reply["status"], reply["error"]) == ("TIMED_OUT", "States.Timeout")
    arn = clients.stepfunctions.start_execution(stateMachineArn=machine(clients, WAIT, "STANDARD"))["executionArn"]
    while (found := clients.stepfunctions.describe_execution(executionArn=arn))["status"] == "RUNNING":
        time.sleep(0.05)
    assert found["status"] == "TIMED_OUT"
    assert time.monotonic() - began < 25


def test_a_tasks_time_limit_holds_and_its_function_goes_on(clients: Any, function: Any, gate: Any) -> None:
    """A task whose TimeoutSeconds are over waits no more; its call goes on to the end, and its environment serves."""
    arn = machine(clients, {"StartAt": "Ask", "States": {"Ask": task(function.arn, TimeoutSeconds=1, End=True)}})
    before = function()[0]
    reply = clients.stepfunctions.start_sync_execution(stateMachineArn=arn, input=json.dumps({"gate": gate.port}))
    assert (reply["error"], reply["cause"]) == ("States.Timeout", "Task timed out after 1 seconds")
    assert function()[0]["pid"] != before["pid"], "the environment is busy still"
    gate.open()
    # A call is counted once its environment is free again; of two free ones, the freed last is taken first.
    assert eventually(lambda: invocations(clients, function.name) == 3)
    assert function()[0]["pid"] == before["pid"]


def invocations(clients: Any, name: str) -> int:
    """How many calls of a function have ended."""
    now = datetime.now(UTC)
    points = clients.cloudwatch.get_metric_statistics(
        Namespace="AWS/Lambda",
        MetricName="Invocations",
        Dimensions=[{"Name": "FunctionName", "Value": name}],
        StartTime=now - timedelta(hours=1),
        EndTime=now + timedelta(minutes=5),
        Period=3600,
        Statistics=["Sum"],
    )["Datapoints"]
    return int(sum(point["Sum"] for point in points))


def test_an_execution_starts_at_once(clients: Any) -> None:
    """Of ten executions that do nothing one is over within 100 ms; the stock interpreter waits 150 ms in each."""
    arn = machine(clients, {"StartAt": "P", "States": {"P": {"Type": "Pass", "End": True}}})
    spent = []
    for _ in range(10):
        began = time.monotonic()
        reply = clients.stepfunctions.start_sync_execution(stateMachineArn=arn, input='{"a": 1}')
        spent.append(time.monotonic() - began)
    assert json.loads(reply["output"]) == {"a": 1}
    assert reply["billingDetails"]["billedDurationInMilliseconds"] == 100
    assert min(spent) < 0.1


def test_a_standard_machine_has_no_synchronous_execution(clients: Any) -> None:
    """StartSyncExecution on a standard machine is refused as AWS refuses it."""
    with pytest.raises(ClientError, match="StateMachineTypeNotSupported"):
        clients.stepfunctions.start_sync_execution(stateMachineArn=machine(clients, WAIT, "STANDARD"))


@pytest.mark.parametrize("text", ["", "{", "not json", '{"a": NaN}', "{'a': 1}", '{"a": 1} 2'])
@pytest.mark.parametrize("start", ["start_execution", "start_sync_execution"])
def test_an_execution_starts_only_with_json(clients: Any, start: str, text: str) -> None:
    """Any other input is refused by name, however the execution is started, and nothing runs."""
    arn = machine(clients, {"StartAt": "P", "States": {"P": {"Type": "Pass", "End": True}}})
    with pytest.raises(ClientError, match="InvalidExecutionInput"):
        getattr(clients.stepfunctions, start)(stateMachineArn=arn, input=text)
    assert clients.stepfunctions.list_executions(stateMachineArn=arn)["executions"] == []


def test_a_broken_machine_is_refused_by_every_door(clients: Any) -> None:
    """CreateStateMachine, UpdateStateMachine and CloudFormation all ask the guard."""
    broken = {"StartAt": "Gone", "States": {"P": {"Type": "Pass", "End": True}}}
    with pytest.raises(ClientError, match=r"InvalidDefinition.*missing 'StartAt' target: Gone"):
        machine(clients, broken)
    with pytest.raises(ClientError, match=r"InvalidDefinition.*missing 'StartAt' target: Gone"):
        clients.stepfunctions.update_state_machine(
            stateMachineArn=machine(clients, WAIT), definition=json.dumps(broken)
        )
    verdict = clients.stepfunctions.validate_state_machine_definition(definition=json.dumps(broken))
    assert (verdict["result"], verdict["diagnostics"][0]["location"]) == ("FAIL", "/StartAt")
    properties = {"RoleArn": ROLE, "Definition": broken}
    template = {"Resources": {"M": {"Type": "AWS::StepFunctions::StateMachine", "Properties": properties}}}
    stack = f"s-{uuid.uuid4().hex[:8]}"
    clients.cloudformation.create_stack(StackName=stack, TemplateBody=json.dumps(template))
    while (found := clients.cloudformation.describe_stacks(StackName=stack)["Stacks"][0])["StackStatus"].endswith(
        "PROGRESS"
    ):
        time.sleep(0.05)
    assert found["StackStatus"] == "ROLLBACK_COMPLETE"
    reasons = [
        e.get("ResourceStatusReason", "")
        for e in clients.cloudformation.describe_stack_events(StackName=stack)["StackEvents"]
    ]
    assert any("missing 'StartAt' target: Gone" in reason for reason in reasons)
