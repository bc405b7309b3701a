"""The guard, on machines that AWS would take and on machines that it would refuse."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scones_local.guard import check, refusal

LAMBDA = "arn:aws:states:::lambda:invoke"
GOOD: dict[str, Any] = {
    "Comment": "one of each",
    "StartAt": "Ask",
    "TimeoutSeconds": 60,
    "States": {
        "Ask": {
            "Type": "Task",
            "Resource": LAMBDA,
            "Parameters": {"FunctionName": "f", "Payload.$": "$", "At": {"x.$": "$$.State.EnteredTime"}},
            "ResultSelector": {"v.$": "States.ArrayGetItem($.Payload, 0)"},
            "ResultPath": None,
            "TimeoutSeconds": 5,
            "Retry": [
                {
                    "ErrorEquals": ["Lambda.ServiceException"],
                    "IntervalSeconds": 1,
                    "BackoffRate": 2,
                    "MaxDelaySeconds": 9,
                },
                {"ErrorEquals": ["States.ALL"], "MaxAttempts": 0, "JitterStrategy": "FULL"},
            ],
            "Catch": [{"ErrorEquals": ["Mine", "States.Timeout"], "ResultPath": "$.error", "Next": "Stop"}],
            "Next": "Pick",
        },
        "Pick": {
            "Type": "Choice",
            "Choices": [
                {"Variable": "$.n", "NumericGreaterThan": 1, "Next": "Pause"},
                {
                    "And": [{"Variable": "$.a", "IsPresent": True}, {"Not": {"Variable": "$.b", "IsNull": True}}],
                    "Next": "All",
                },
            ],
            "Default": "Both",
        },
        "Pause": {"Type": "Wait", "Seconds": 1, "Next": "Done"},
        "All": {
            "Type": "Map",
            "ItemsPath": "$.items",
            "MaxConcurrency": 2,
            "ItemProcessor": {"StartAt": "Each", "States": {"Each": {"Type": "Pass", "End": True}}},
            "Next": "Done",
        },
        "Both": {
            "Type": "Parallel",
            "Branches": [{"StartAt": "One", "States": {"One": {"Type": "Pass", "Result": 1, "End": True}}}],
            "End": True,
        },
        "Done": {"Type": "Succeed"},
        "Stop": {"Type": "Fail", "ErrorPath": "$.error.Error", "CausePath": "$.error.Cause"},
    },
}


def with_state(name: str, **changes: Any) -> str:
    """GOOD, with fields of one state changed; a field set to `...` is removed."""
    machine = copy.deepcopy(GOOD)
    state = machine["States"][name]
    for field, value in changes.items():
        if value is ...:
            del state[field]
        else:
            state[field] = value
    return json.dumps(machine)


def test_a_sound_machine_passes() -> None:
    """One state of each type, with handlers, templates and nested machines, is not refused."""
    assert refusal(json.dumps(GOOD)) is None


@pytest.mark.parametrize(
    ("name", "changes", "word"),
    [
        ("Ask", {"Next": "Nowhere"}, "Nowhere"),
        ("Ask", {"Next": ...}, "exactly one of 'Next' and 'End: true'"),
        ("Ask", {"End": True}, "exactly one of 'Next' and 'End: true'"),
        ("Ask", {"Type": "Chore"}, "not a type of state"),
        ("Ask", {"Resource": "${Arn}"}, "must be the ARN"),
        ("Ask", {"Colour": "red"}, "does not support 'Colour'"),
        ("Ask", {"ResultPath": "error"}, "must be a JSONPath"),
        ("Ask", {"Parameters": {"a.$": "b"}}, "neither a JSONPath nor an intrinsic"),
        ("Ask", {"TimeoutSeconds": 0}, "at least 1"),
        ("Ask", {"Retry": [{"ErrorEquals": ["X"], "BackoffRate": 0.5}]}, "at least 1"),
        ("Ask", {"Retry": [{"ErrorEquals": ["X"], "MaxAttempts": 1.5}]}, "whole number"),
        ("Ask", {"Retry": [{"ErrorEquals": ["X"], "MaxDelaySeconds": 1}]}, "greater than IntervalSeconds"),
        ("Ask", {"Retry": [{"ErrorEquals": ["X"], "JitterStrategy": "SOME"}]}, "FULL or NONE"),
        ("Ask", {"Retry": [{"ErrorEquals": []}]}, "list of error names"),
        ("Ask", {"Retry": [{"ErrorEquals": ["States.ALL", "X"]}]}, "must be alone"),
        ("Ask", {"Retry": [{"ErrorEquals": ["States.ALL"]}, {"ErrorEquals": ["X"]}]}, "must be alone"),
        ("Ask", {"Catch": [{"ErrorEquals": ["States.Oops"], "Next": "Stop"}]}, "States.Oops"),
        ("Ask", {"HeartbeatSeconds": 3}, "does not support 'HeartbeatSeconds'"),
        ("Ask", {"Assign": {"x": 1}}, "does not support 'Assign'"),
        ("Ask", {"Arguments": {}}, "does not belong to JSONPath"),
        ("Pick", {"Choices": []}, "Choices must be a list that is not empty"),
        ("Pick", {"Default": "Nowhere"}, "Nowhere"),
        ("Pick", {"Choices": [{"Variable": "$.n", "StringLessThanPath": "$.m", "Next": "Pause"}]}, "one operator"),
        ("Pick", {"End": True}, "does not support 'End'"),
        ("Pause", {"SecondsPath": "$.s"}, "exactly one of Seconds"),
        ("All", {"ItemBatcher": {}}, "does not support 'ItemBatcher' in a Map"),
        ("All", {"ResultWriter": {}}, "does not support 'ResultWriter' in a Map"),
        ("All", {"ItemProcessor": ...}, "exactly one of ItemProcessor"),
        (
            "Both",
            {"Branches": [{"StartAt": "Z", "States": {"One": {"Type": "Succeed"}}}]},
            "missing 'StartAt' target: Z",
        ),
        ("Both", {"Branches": [{"StartAt": "Ask", "States": {"Ask": {"Type": "Succeed"}}}]}, "used twice"),
    ],
)
def test_a_broken_machine_is_refused(name: str, changes: dict[str, Any], word: str) -> None:
    """Each fault is named, with the state that has it."""
    message = refusal(with_state(name, **changes))
    assert message is not None
    assert word in message
    assert name in message


@pytest.mark.parametrize(
    ("definition", "word"),
    [
        ("{", "not valid JSON"),
        ("[]", "must be a JSON object"),
        ('{"StartAt": "A", "States": {}}', "must be an object that holds states"),
        ('{"StartAt": "B", "States": {"A": {"Type": "Succeed"}}}', "missing 'StartAt' target: B"),
        ('{"StartAt": "A", "Foo": 1, "States": {"A": {"Type": "Succeed"}}}', "'Foo'"),
        ('{"StartAt": "A", "States": {"A": {"Type": "Pass", "Next": "A"}}}', "no state ends"),
        ('{"StartAt": "A", "States": {"A": {"Type": "Succeed"}, "B": {"Type": "Succeed"}}}', "cannot be reached"),
    ],
)
def test_a_machine_that_is_no_machine_is_refused(definition: str, word: str) -> None:
    """Broken JSON, no states, no start, no end and stranded states each have their message."""
    assert word in str(refusal(definition))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
FIELDS = ("Next", "End", "Retry", "Catch", "Choices", "Branches", "ItemProcessor", "Default", "Parameters", "Resource")


@given(
    state=st.dictionaries(st.sampled_from(FIELDS), JSON), kind=st.sampled_from(["Task", "Choice", "Map", "Parallel", 3])
)
def test_no_json_makes_the_guard_fail(state: dict[str, Any], kind: object) -> None:
    """Whatever a state holds, the guard answers with a list of problems."""
    check(json.dumps({"StartAt": "A", "States": {"A": {**state, "Type": kind}}}))
    check(json.dumps(state))


def distributed(**changes: Any) -> str:
    """The machine that batches photos, with changes to its Map state."""
    machine = json.loads((Path(__file__).parents[2] / "infra" / "batch.asl.json").read_text())
    machine["States"]["ClassifyBatches"] |= changes
    return json.dumps(machine)


def test_the_batch_machine_may_run() -> None:
    """The guard takes infra/batch.asl.json as it is."""
    assert refusal(distributed()) is None


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"QueryLanguage": "JSONata"}, "JSONPath only"),
        ({"Label": "x" * 41}, "at most 40 characters"),
        ({"MaxConcurrency": 3}, "exclude each other"),
        ({"MaxConcurrencyPath": "concurrency"}, "must be a JSONPath"),
        (
            {"ItemReader": {"Resource": "arn:aws:states:::dynamodb:scan"}},
            "Resource must be arn:aws:states:::s3:getObject or",
        ),
        (
            {"ItemReader": {"Resource": "arn:aws:states:::s3:getObject", "ReaderConfig": 1}},
            "ReaderConfig must be an object",
        ),
        ({"ItemReader": {"Resource": "arn:aws:states:::s3:getObject"}}, "'InputType' is required"),
        (
            {"ItemReader": {"Resource": "arn:aws:states:::s3:getObject", "ReaderConfig": {"InputType": "PARQUET"}}},
            "CSV or JSON or JSONL",
        ),
        ({"ItemBatcher": {"BatchInput": {}}}, "'MaxItemsPerBatch' or"),
        (
            {"ItemBatcher": {"MaxItemsPerBatchPath": "$.n", "MaxItemsPerBatch": 1}},
            "does not support 'MaxItemsPerBatchPath'",
        ),
        ({"ItemBatcher": {"MaxItemsPerBatch": 0}}, "whole number of at least 1"),
        ({"ItemBatcher": {"MaxInputBytesPerBatch": 300_000}}, "at most 262144"),
        ({"ResultWriter": {"Resource": "arn:aws:states:::s3:putObject"}}, "'Parameters' is required"),
        (
            {"ResultWriter": {"Resource": "arn:aws:states:::s3:putObject", "Parameters": {}, "WriterConfig": {}}},
            "does not support 'WriterConfig'",
        ),
        ({"ItemProcessor": {"ProcessorConfig": {"Mode": "DISTRIBUTED"}}}, "ExecutionType"),
    ],
)
def test_a_broken_distributed_map_is_refused(changes: dict[str, Any], word: str) -> None:
    """Each fault of a Distributed Map is named, and so is what the local cloud does not do."""
    message = refusal(distributed(**changes))
    assert message is not None
    assert word in message


REFUSED = [
    *("glue:startJobRun.sync", "batch:submitJob", "ecs:runTask.sync", "http:invoke", "bedrock:invokeModel"),
    *("sagemaker:createTransformJob.sync", "sagemaker:createEndpoint.sync", "sagemaker:createEndpointX"),
    *("lambda:invoke.sync", "lambda:invokeAsync", "states:startExecution.sync:3", "dynamodb:scan", "sns:publish.sync"),
    *("aws-sdk:bedrock:invokeModel", "aws-sdk:sagemaker:trainAll", "aws-sdk:s3:getObject", "aws-sdk:sqs:SendMessage"),
    *("aws-sdk:sagemakerruntime:invokeEndpointAsync", "aws-sdk:sagemaker", "aws-sdk:sagemaker:createModel:more", ""),
]


@pytest.mark.parametrize("name", REFUSED)
def test_an_integration_that_does_not_run_here_is_refused_by_its_name(name: str) -> None:
    """The message names it, and those that do run."""
    resource = f"arn:aws:states:::{name}"
    machine = {"StartAt": "Ask", "States": {"Ask": {"Type": "Task", "Resource": resource, "End": True}}}
    message = str(refusal(json.dumps(machine)))
    assert f"not {resource!r}" in message
    assert "sagemaker:createTrainingJob[.sync]" in message


RUN = [
    *(
        "lambda:invoke",
        "lambda:invoke.waitForTaskToken",
        "states:startExecution.sync:2",
        "sns:publish",
        "sqs:sendMessage",
    ),
    *("sagemaker:createTrainingJob.sync", "sagemaker:createModel", "sagemaker:createEndpoint", "dynamodb:getItem"),
    *(
        "sagemaker:createEndpointConfig",
        "aws-sdk:sagemakerruntime:invokeEndpoint",
        "aws-sdk:sagemaker:describeEndpoint",
    ),
    *("aws-sdk:s3:listObjectsV2", "aws-sdk:sfn:listExecutions", "aws-sdk:sqs:sendMessage.waitForTaskToken"),
]


@pytest.mark.parametrize("name", RUN)
def test_an_integration_that_runs_here_is_accepted(name: str) -> None:
    """In a Standard workflow all of them; in an Express one those that do not wait, as on AWS."""
    state = {"Type": "Task", "Resource": f"arn:aws:states:::{name}", "End": True}
    inner = {"StartAt": "Ask", "States": {"Ask": state}}
    branches = {"StartAt": "All", "States": {"All": {"Type": "Parallel", "Branches": [inner], "End": True}}}
    for machine in (json.dumps(inner), json.dumps(branches)):
        assert refusal(machine) is None
        waits = name.endswith((".waitForTaskToken", ".sync", ".sync:2"))
        assert ("Express state machines do not support" in str(refusal(machine, express=True))) == waits
