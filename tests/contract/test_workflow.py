"""Lambda, Step Functions and CloudFormation: the operations that the product uses answer as AWS's models say."""

import json
import time

import pytest
from botocore.exceptions import ClientError

from aws_calls import fresh
from contract.conftest import Checked

SOURCE = "def handler(event, context):\n    if event.get('fail'):\n        raise KeyError('label')\n    return event\n"
MACHINE = {"StartAt": "P", "States": {"P": {"Type": "Pass", "Result": {"ok": True}, "End": True}}}


def test_a_function(aws: Checked) -> None:
    """A function of a stack is invoked, and fails, with FunctionError; what is gone is ResourceNotFoundException."""
    client, stacks, name = aws("lambda"), aws("cloudformation"), fresh("contract")
    properties = {
        "FunctionName": name,
        "Runtime": "python3.11",
        "Role": aws.role,
        "Handler": "index.handler",
        "Code": {"ZipFile": SOURCE},
    }
    template = {"Resources": {"F": {"Type": "AWS::Lambda::Function", "Properties": properties}}}
    stacks.create_stack(StackName=name, TemplateBody=json.dumps(template))
    stacks.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig={"Delay": 1})
    reply = client.invoke(FunctionName=name, Payload=b'{"a": 1}', LogType="Tail")
    assert json.loads(reply["Payload"].read()) == {"a": 1}
    reply = client.invoke(FunctionName=name, Payload=b'{"fail": 1}')
    assert (reply["FunctionError"], json.loads(reply["Payload"].read())["errorType"]) == ("Unhandled", "KeyError")
    stacks.delete_stack(StackName=name)
    stacks.get_waiter("stack_delete_complete").wait(StackName=name, WaiterConfig={"Delay": 1})
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        client.invoke(FunctionName=name)


def test_an_express_execution(aws: Checked) -> None:
    """Create, list, describe and run a machine; a broken definition is InvalidDefinition."""
    client, name = aws("stepfunctions"), fresh("contract")
    definition = json.dumps(MACHINE)
    arn = client.create_state_machine(name=name, definition=definition, roleArn=aws.role, type="EXPRESS")[
        "stateMachineArn"
    ]
    assert arn in [each["stateMachineArn"] for each in client.list_state_machines()["stateMachines"]]
    assert client.describe_state_machine(stateMachineArn=arn)["type"] == "EXPRESS"
    reply = client.start_sync_execution(stateMachineArn=arn, input="{}")
    assert (reply["status"], json.loads(reply["output"])) == ("SUCCEEDED", {"ok": True})
    with pytest.raises(ClientError, match="InvalidDefinition"):
        client.update_state_machine(
            stateMachineArn=arn, definition='{"StartAt": "X", "States": {"P": {"Type": "Succeed"}}}'
        )
    client.delete_state_machine(stateMachineArn=arn)


def test_a_standard_execution(aws: Checked) -> None:
    """Start, describe, list and read the history of an execution; an unknown one is ExecutionDoesNotExist."""
    client, name = aws("stepfunctions"), fresh("contract")
    arn = client.create_state_machine(name=name, definition=json.dumps(MACHINE), roleArn=aws.role)["stateMachineArn"]
    execution = client.start_execution(stateMachineArn=arn, input="{}")["executionArn"]
    while client.describe_execution(executionArn=execution)["status"] == "RUNNING":
        time.sleep(0.1)
    assert [each["status"] for each in client.list_executions(stateMachineArn=arn)["executions"]] == ["SUCCEEDED"]
    assert client.get_execution_history(executionArn=execution)["events"][-1]["type"] == "ExecutionSucceeded"
    with pytest.raises(ClientError, match="ExecutionDoesNotExist"):
        client.describe_execution(executionArn=execution + "x")
    client.delete_state_machine(stateMachineArn=arn)


def test_a_token_that_no_task_waits_for(aws: Checked) -> None:
    """Whoever answers a task that has ended, or never was, is told so."""
    with pytest.raises(ClientError, match=r"InvalidToken|TaskDoesNotExist|TaskTimedOut"):
        aws("stepfunctions").send_task_success(taskToken="none", output="{}")


def test_a_map_run(aws: Checked) -> None:
    """Start a Distributed Map, list and describe its run; the items' counts add up."""
    client, name = aws("stepfunctions"), fresh("contract")
    processor = {"ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "EXPRESS"}, **MACHINE}
    state = {"Type": "Map", "ItemBatcher": {"MaxItemsPerBatch": 2}, "ItemProcessor": processor, "End": True}
    definition = json.dumps({"StartAt": "M", "States": {"M": state}})
    arn = client.create_state_machine(name=name, definition=definition, roleArn=aws.role)["stateMachineArn"]
    execution = client.start_execution(stateMachineArn=arn, input="[1, 2, 3]")["executionArn"]
    while client.describe_execution(executionArn=execution)["status"] == "RUNNING":
        time.sleep(0.1)
    (run,) = client.list_map_runs(executionArn=execution)["mapRuns"]
    found = client.describe_map_run(mapRunArn=run["mapRunArn"])
    assert (found["itemCounts"]["succeeded"], found["executionCounts"]["succeeded"]) == (3, 2)
    with pytest.raises(ClientError, match="ExecutionDoesNotExist"):
        client.list_map_runs(executionArn=execution + "x")
    client.delete_state_machine(stateMachineArn=arn)


def test_a_stopped_execution(aws: Checked) -> None:
    """A running execution is listed as such, and stopped."""
    client, name = aws("stepfunctions"), fresh("contract")
    definition = json.dumps({"StartAt": "W", "States": {"W": {"Type": "Wait", "Seconds": 60, "End": True}}})
    arn = client.create_state_machine(name=name, definition=definition, roleArn=aws.role)["stateMachineArn"]
    execution = client.start_execution(stateMachineArn=arn, input="{}")["executionArn"]
    running = client.list_executions(stateMachineArn=arn, statusFilter="RUNNING")["executions"]
    assert [each["executionArn"] for each in running] == [execution]
    client.stop_execution(executionArn=execution)
    assert client.describe_execution(executionArn=execution)["status"] == "ABORTED"
    client.delete_state_machine(stateMachineArn=arn)


def test_a_stack(aws: Checked) -> None:
    """A change set creates a stack with parameters and outputs; one without changes fails; the stack goes."""
    client, stack = aws("cloudformation"), fresh("contract")
    template = {
        "Parameters": {"Name": {"Type": "String"}, "Extra": {"Type": "String", "Default": "no"}},
        "Conditions": {"HasExtra": {"Fn::Equals": [{"Ref": "Extra"}, "yes"]}},
        "Resources": {
            "Topic": {"Type": "AWS::SNS::Topic", "Properties": {"TopicName": {"Ref": "Name"}}},
            "More": {"Type": "AWS::SNS::Topic", "Condition": "HasExtra"},
        },
        "Outputs": {"Arn": {"Value": {"Ref": "Topic"}}},
    }
    request = {
        "StackName": stack,
        "TemplateBody": json.dumps(template),
        "Parameters": [{"ParameterKey": "Name", "ParameterValue": stack}],
        "Tags": [{"Key": "project", "Value": "scones"}],
    }
    client.create_change_set(ChangeSetName="first", ChangeSetType="CREATE", **request)
    named = {"StackName": stack, "ChangeSetName": "first"}
    client.get_waiter("change_set_create_complete").wait(**named, WaiterConfig={"Delay": 1})
    # What a condition leaves out is no change.
    assert len(client.describe_change_set(**named)["Changes"]) == 1
    client.execute_change_set(**named)
    client.get_waiter("stack_create_complete").wait(StackName=stack, WaiterConfig={"Delay": 1})
    found = client.describe_stacks(StackName=stack)["Stacks"][0]
    assert found["Outputs"][0]["OutputValue"].endswith(f":{stack}")
    assert client.describe_stack_events(StackName=stack)["StackEvents"]
    assert len(client.describe_stack_resources(StackName=stack)["StackResources"]) == 1
    assert len(client.list_stack_resources(StackName=stack)["StackResourceSummaries"]) == 1
    detection = client.detect_stack_drift(StackName=stack)["StackDriftDetectionId"]
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        found = client.describe_stack_drift_detection_status(StackDriftDetectionId=detection)
        if found["DetectionStatus"] != "DETECTION_IN_PROGRESS":
            break
        time.sleep(0.2)
    drifts = client.describe_stack_resource_drifts(StackName=stack)["StackResourceDrifts"]
    assert [drift["StackResourceDriftStatus"] for drift in drifts] == ["IN_SYNC"]
    client.create_change_set(ChangeSetName="same", ChangeSetType="UPDATE", **request)
    while (found := client.describe_change_set(StackName=stack, ChangeSetName="same"))["Status"] != "FAILED":
        time.sleep(0.2)
    assert "didn't contain changes" in found["StatusReason"]
    client.delete_change_set(StackName=stack, ChangeSetName="same")
    client.delete_stack(StackName=stack)
    client.get_waiter("stack_delete_complete").wait(StackName=stack, WaiterConfig={"Delay": 1})
    with pytest.raises(ClientError, match=r"ValidationError.*does not exist"):
        client.describe_stacks(StackName=stack)
