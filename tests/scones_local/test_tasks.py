"""Tasks of state machines: what reaches a function or SageMaker, what comes back, and the history."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from aws_calls import IMAGE, ROLE, a_bucket, a_variant, fresh, job_request, machine, task
from waiting import eventually

KINDS = """
import json
def handler(event, context):
    if event == "fail" or event == {"fail": 1}: raise KeyError("gone")
    return {"type": type(event).__name__, "event": event}
def text(event, context):
    return json.dumps({"a": 1})
def same(event, context):
    return event
"""


@pytest.fixture
def kinds(function: Any) -> Any:
    """A function that says what it was given; `text` and `same` are other handlers of its code."""
    function.client.update_function_code(FunctionName=function.name, ZipFile=function.archive(KINDS))
    return function


def run(clients: Any, states: dict[str, Any], given: Any, **fields: Any) -> Any:
    """The reply of one synchronous execution."""
    arn = machine(clients, {"StartAt": next(iter(states)), "States": states, **fields})
    return clients.stepfunctions.start_sync_execution(stateMachineArn=arn, input=json.dumps(given))


PAYLOADS = [
    ('{"a": 1}', ("dict", {"a": 1})),
    ("[1, 2]", ("list", [1, 2])),
    ('"text"', ("str", "text")),
    ("12", ("int", 12)),
    ("null", ("NoneType", None)),
    ('"{\\"a\\": 1}"', ("str", '{"a": 1}')),
    ("not JSON", ("str", "not JSON")),
]


@pytest.mark.parametrize(("text", "seen"), PAYLOADS)
@pytest.mark.parametrize("how", ["Payload.$", "Payload", "JSONata"])
def test_a_json_string_as_payload_arrives_as_json(
    clients: Any, kinds: Any, how: str, text: str, seen: tuple[str, Any]
) -> None:
    """`lambda:invoke` sends a string as it is, from the input, from the definition, and in JSONata."""
    call = {"FunctionName": kinds.arn, "Payload.$": "$.body"}
    state: dict[str, Any] = {**task(kinds.arn, End=True), "Parameters": call}
    if how == "Payload":
        state["Parameters"] = {"FunctionName": kinds.arn, "Payload": text}
    if how == "JSONata":
        arguments = {"FunctionName": kinds.arn, "Payload": "{% $states.input.body %}"}
        state = {"Type": "Task", "Resource": state["Resource"], "QueryLanguage": "JSONata", "Arguments": arguments}
        state |= {"Output": "{% $states.result.Payload %}", "End": True}
    reply = run(clients, {"Ask": state}, {"body": text})
    assert json.loads(reply["output"]) == dict(zip(("type", "event"), seen, strict=True))


@pytest.mark.parametrize("value", ['{"a": 1}', "text", "12", "null", '"quoted"', "", {"a": "1"}, [1], 1.5, None, True])
@pytest.mark.parametrize("how", ["lambda:invoke", "ARN"])
def test_what_a_function_returns_keeps_its_type(clients: Any, kinds: Any, how: str, value: Any) -> None:
    """A string that holds JSON stays a string, by either kind of call."""
    kinds.client.update_function_configuration(FunctionName=kinds.name, Handler="answer.same")
    state = (
        task(kinds.arn, End=True) if how == "lambda:invoke" else {"Type": "Task", "Resource": kinds.arn, "End": True}
    )
    if how == "lambda:invoke":
        state["Parameters"] = {"FunctionName": kinds.arn, "Payload.$": "$.payload"}
        value = {"inner": value}
        assert json.loads(run(clients, {"Ask": state}, {"payload": value})["output"]) == value
    else:
        assert json.loads(run(clients, {"Ask": state}, value)["output"]) == value


def test_a_function_that_returns_json_text_gives_text(clients: Any, kinds: Any) -> None:
    """`return json.dumps(...)` reaches the next state as a string, as on AWS."""
    kinds.client.update_function_configuration(FunctionName=kinds.name, Handler="answer.text")
    assert json.loads(run(clients, {"Ask": task(kinds.arn, End=True)}, {})["output"]) == '{"a": 1}'


def test_a_call_without_payload_sends_an_empty_object(clients: Any, kinds: Any) -> None:
    """Nothing of the state's own parameters reaches the function."""
    state = {**task(kinds.arn, End=True), "Parameters": {"FunctionName": kinds.arn}}
    assert json.loads(run(clients, {"Ask": state}, {"x": 1})["output"]) == {"type": "dict", "event": {}}


def test_the_result_of_a_call_has_the_members_that_aws_documents(clients: Any, kinds: Any) -> None:
    """ExecutedVersion, SdkHttpMetadata, SdkResponseMetadata and StatusCode; a qualifier chooses the version."""
    version = kinds.client.publish_version(FunctionName=kinds.name)["Version"]
    call = {"FunctionName": kinds.arn, "Payload": {}, "Qualifier": version}
    state = {"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "Parameters": call, "End": True}
    result = json.loads(run(clients, {"Ask": state}, {})["output"])
    assert (result["ExecutedVersion"], result["StatusCode"]) == (version, 200)
    http = result["SdkHttpMetadata"]
    assert http["HttpStatusCode"] == 200
    assert http["HttpHeaders"]["X-Amz-Executed-Version"] == http["AllHttpHeaders"]["X-Amz-Executed-Version"][0]
    assert http["HttpHeaders"]["x-amzn-RequestId"] == result["SdkResponseMetadata"]["RequestId"]


def ended(clients: Any, states: dict[str, Any], given: Any = None) -> tuple[Any, list[Any]]:
    """The description and the history of a standard execution that has ended."""
    arn = machine(clients, {"StartAt": next(iter(states)), "States": states}, "STANDARD")
    asked = json.dumps({} if given is None else given)
    execution = clients.stepfunctions.start_execution(stateMachineArn=arn, input=asked)["executionArn"]

    def description() -> Any:
        return clients.stepfunctions.describe_execution(executionArn=execution)

    assert eventually(lambda: description()["status"] != "RUNNING")
    history = clients.stepfunctions.get_execution_history(executionArn=execution)["events"]
    return description(), history


FAILURES: dict[str, Callable[[str], dict[str, Any]]] = {
    "a function": lambda arn: task(arn, End=True),
    "a Fail state": lambda _arn: {"Type": "Fail", "Error": "Mine", "Cause": "because"},
    "a Fail state without names": lambda _arn: {"Type": "Fail"},
    "a missing function": lambda _arn: task("gone", End=True),
    "a branch": lambda arn: {
        "Type": "Parallel",
        "Branches": [{"StartAt": "In", "States": {"In": task(arn, End=True)}}],
        "End": True,
    },
}


@pytest.mark.parametrize("kind", FAILURES)
def test_a_failed_execution_has_no_output(clients: Any, kinds: Any, kind: str) -> None:
    """Its description has error and cause where there are any, and no output."""
    found, history = ended(clients, {"Ask": FAILURES[kind](kinds.arn)}, {"fail": 1})
    assert found["status"] == "FAILED"
    assert "output" not in found
    names = {"a function": "KeyError", "a branch": "KeyError", "a Fail state": "Mine"}
    missing = {"a missing function": "Lambda.ResourceNotFoundException"}
    assert found.get("error") == {**names, **missing}.get(kind)
    details = history[-1].get("executionFailedEventDetails", {})
    assert (details.get("error"), details.get("cause")) == (found.get("error"), found.get("cause"))


def test_the_history_of_a_task_is_that_of_aws(clients: Any, kinds: Any) -> None:
    """TaskScheduled, TaskStarted and TaskSucceeded with their details; each event names the one before it."""
    _, history = ended(clients, {"Ask": task(kinds.arn, End=True)})
    assert [event["type"] for event in history] == [
        *("ExecutionStarted", "TaskStateEntered", "TaskScheduled", "TaskStarted", "TaskSucceeded"),
        *("TaskStateExited", "ExecutionSucceeded"),
    ]
    assert [event["previousEventId"] for event in history] == [0, 1, 2, 3, 4, 5, 6]
    scheduled = history[2]["taskScheduledEventDetails"]
    assert (scheduled["resourceType"], scheduled["resource"], scheduled["region"]) == ("lambda", "invoke", "us-east-1")
    assert json.loads(scheduled["parameters"])["FunctionName"] == kinds.arn
    assert history[3]["taskStartedEventDetails"] == {"resourceType": "lambda", "resource": "invoke"}
    assert history[4]["taskSucceededEventDetails"]["resource"] == "invoke"


def test_a_function_called_by_its_arn_has_its_own_events(clients: Any, kinds: Any) -> None:
    """LambdaFunctionScheduled, -Started and -Failed."""
    _, history = ended(clients, {"Ask": {"Type": "Task", "Resource": kinds.arn, "End": True}}, {"fail": 1})
    names = [event["type"] for event in history if "Lambda" in event["type"]]
    assert names == ["LambdaFunctionScheduled", "LambdaFunctionStarted", "LambdaFunctionFailed"]
    assert history[4]["lambdaFunctionFailedEventDetails"]["error"] == "KeyError"


def test_events_of_branches_follow_their_own_branch(clients: Any, kinds: Any) -> None:
    """Numbers are used once, and a branch's events name events of the same branch or the state's entry."""
    branches = [{"StartAt": name, "States": {name: task(kinds.arn, End=True)}} for name in "AB"]
    _, history = ended(clients, {"Both": {"Type": "Parallel", "Branches": branches, "End": True}})
    numbers = [event["id"] for event in history]
    assert numbers == list(range(1, len(history) + 1))
    before = {event["id"]: event["previousEventId"] for event in history}
    started = [event["id"] for event in history if event["type"] == "TaskScheduled"]
    assert [before[number] for number in started] == [2, 2]


def step(name: str, parameters: Any, **fields: Any) -> dict[str, Any]:
    """A task by a service integration."""
    return {"Type": "Task", "Resource": f"arn:aws:states:::{name}", "Parameters": parameters, **fields}


def test_a_machine_trains_deploys_and_asks_an_endpoint(clients: Any) -> None:
    """One after another, from createTrainingJob.sync to invokeEndpoint, with their results as on AWS."""
    bucket, name = a_bucket(clients.s3), fresh("flow")
    request = job_request(bucket, TrainingJobName=name)
    container = {"Image": IMAGE, "ModelDataUrl.$": "$.ModelArtifacts.S3ModelArtifacts"}
    model = {"ModelName": name, "ExecutionRoleArn": ROLE, "PrimaryContainer": container}
    asked = {"EndpointName": name}
    waiting = {"Variable": "$.EndpointStatus", "StringEquals": "InService", "Next": "Ask"}
    states = {
        "Train": step("sagemaker:createTrainingJob.sync", request, Next="Model"),
        "Model": step("sagemaker:createModel", model, Next="Config"),
        "Config": step(
            "sagemaker:createEndpointConfig",
            {"EndpointConfigName": name, "ProductionVariants": [a_variant(name)]},
            Next="Endpoint",
        ),
        "Endpoint": step("sagemaker:createEndpoint", {**asked, "EndpointConfigName": name}, Next="Look"),
        "Look": step("aws-sdk:sagemaker:describeEndpoint", asked, Next="Ready"),
        "Ready": {"Type": "Choice", "Choices": [waiting], "Default": "Pause"},
        "Pause": {"Type": "Wait", "Seconds": 1, "Next": "Look"},
        "Ask": step(
            "aws-sdk:sagemakerruntime:invokeEndpoint",
            {**asked, "Body": "photo", "ContentType": "image/png"},
            ResultSelector={"answer.$": "States.StringToJson($.Body)", "variant.$": "$.InvokedProductionVariant"},
            End=True,
        ),
    }
    found, history = ended(clients, states)
    assert found["status"] == "SUCCEEDED", found
    expected = clients.sagemaker_runtime.invoke_endpoint(EndpointName=name, Body=b"photo", ContentType="image/png")
    assert json.loads(found["output"]) == {"answer": json.loads(expected["Body"].read()), "variant": "AllTraffic"}
    scheduled = [event["taskScheduledEventDetails"] for event in history if event["type"] == "TaskScheduled"]
    assert (scheduled[0]["resourceType"], scheduled[0]["resource"]) == ("sagemaker", "createTrainingJob.sync")
    clients.sagemaker.delete_endpoint(EndpointName=name)


def test_a_failed_training_job_fails_its_task(clients: Any) -> None:
    """States.TaskFailed, with the job's description as the cause; a refused request has SageMaker's name."""
    request = job_request(a_bucket(clients.s3), HyperParameters={"answer": "fail"})
    source = request["InputDataConfig"][0]["DataSource"]["S3DataSource"]
    source["S3Uri"] = f"{source['S3Uri']}none/"
    found, _ = ended(clients, {"Train": step("sagemaker:createTrainingJob.sync", request, End=True)})
    assert found["error"] == "States.TaskFailed"
    assert json.loads(found["cause"])["TrainingJobStatus"] == "Failed"
    again, _ = ended(clients, {"Train": step("sagemaker:createTrainingJob", request, End=True)})
    assert again["error"] == "SageMaker.ResourceInUseException"
    model = {"ModelName": fresh("m"), "ExecutionRoleArn": ROLE, "PrimaryContainer": {"Image": "other:1"}}
    refused, _ = ended(clients, {"Model": step("sagemaker:createModel", model, End=True)})
    assert refused["error"] == "SageMaker.AmazonSageMakerException"
    asked = step("aws-sdk:sagemakerruntime:invokeEndpoint", {"EndpointName": "gone", "Body": ""}, End=True)
    assert ended(clients, {"Ask": asked})[0]["error"].startswith("SageMakerRuntime.")


def tokens(clients: Any, function: Any, **fields: Any) -> tuple[str, Any]:
    """Start a machine whose function hands its task token to a queue; returns the execution, and the queue's reader."""
    source = """
import boto3
def handler(event, context):
    boto3.client("sqs").send_message(QueueUrl=event["queue"], MessageBody=event["token"])
"""
    function.client.update_function_code(FunctionName=function.name, ZipFile=function.archive(source))
    queue = clients.sqs.create_queue(QueueName=fresh("tokens"))["QueueUrl"]
    payload = {"token.$": "$$.Task.Token", "queue": queue}
    state = step(
        "lambda:invoke.waitForTaskToken", {"FunctionName": function.arn, "Payload": payload}, End=True, **fields
    )
    branch = {"StartAt": "Wait", "States": {"Wait": state}}
    both = {"Type": "Parallel", "Branches": [branch, {"StartAt": "W2", "States": {"W2": state}}], "End": True}
    arn = machine(clients, {"StartAt": "Both", "States": {"Both": both}}, "STANDARD")
    execution = clients.stepfunctions.start_execution(stateMachineArn=arn)["executionArn"]

    def read() -> set[str]:
        found = set[str]()
        while len(found) < 2:
            reply = clients.sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=20, MaxNumberOfMessages=10)
            found |= {message["Body"] for message in reply["Messages"]}
        return found

    return execution, read


def test_each_branch_waits_for_its_own_token(clients: Any, function: Any) -> None:
    """Two branches at once have two tokens, and the execution ends once both came back."""
    execution, read = tokens(clients, function)
    for number, token in enumerate(sorted(read())):
        clients.stepfunctions.send_task_success(taskToken=token, output=json.dumps(number))
    assert eventually(lambda: status(clients, execution) == "SUCCEEDED")
    output = clients.stepfunctions.describe_execution(executionArn=execution)["output"]
    assert sorted(json.loads(output)) == [0, 1]
    names = [e["type"] for e in clients.stepfunctions.get_execution_history(executionArn=execution)["events"]]
    assert names.count("TaskSubmitted") == 2


def test_a_task_without_heartbeat_is_ended(clients: Any, function: Any) -> None:
    """The other branch's task sends them for longer than the limit, and succeeds."""
    execution, read = tokens(clients, function, HeartbeatSeconds=2)
    one, _ = read()
    for _ in range(8):
        clients.stepfunctions.send_task_heartbeat(taskToken=one)
        time.sleep(0.4)
    clients.stepfunctions.send_task_success(taskToken=one, output="1")
    assert eventually(lambda: status(clients, execution) == "FAILED")
    assert clients.stepfunctions.describe_execution(executionArn=execution)["error"] == "States.HeartbeatTimeout"


def status(clients: Any, execution: str) -> str:
    """The status of an execution."""
    return str(clients.stepfunctions.describe_execution(executionArn=execution)["status"])


def test_jsonata_works_in_every_state_that_has_it(clients: Any, kinds: Any) -> None:
    """Arguments, Output and Assign of Parallel, Map, Pass, Choice and Succeed."""
    arguments = {"FunctionName": kinds.arn, "Payload": "{% $states.input %}"}
    ask = {"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "Arguments": arguments, "End": True}
    ask["Output"] = "{% $states.result.Payload.event.n * 2 %}"
    inner = {"StartAt": "Ask", "States": {"Ask": ask}}
    states = {
        "Both": {
            "Type": "Parallel",
            "Arguments": {"n": "{% $states.input.n + 1 %}"},
            "Branches": [inner],
            "Output": {"doubled": "{% $states.result[0] %}"},
            "Assign": {"seen": "{% $states.result[0] %}"},
            "Next": "Each",
        },
        "Each": {
            "Type": "Map",
            "Items": "{% [1, 2, $seen] %}",
            "ItemSelector": {"n": "{% $states.context.Map.Item.Value %}"},
            "ItemProcessor": {"StartAt": "Ask2", "States": {"Ask2": ask}},
            "Output": {"all": "{% $states.result %}"},
            "Next": "Pick",
        },
        "Pick": {"Type": "Choice", "Choices": [{"Condition": "{% $seen > 5 %}", "Next": "Done"}], "Default": "Never"},
        "Never": {"Type": "Fail"},
        "Done": {"Type": "Succeed", "Output": {"sum": "{% $sum($states.input.all) %}", "seen": "{% $seen %}"}},
    }
    reply = run(clients, states, {"n": 3}, QueryLanguage="JSONata")
    assert json.loads(reply["output"]) == {"sum": 22, "seen": 8}
