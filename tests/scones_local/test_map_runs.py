"""Distributed Maps in the local cloud: batches, tolerated failures and result files, as AWS documents them."""

import json
import time
import uuid
from typing import Any

import pytest

from aws_calls import machine, task
from waiting import eventually

Items = list[dict[str, Any]]


@pytest.fixture
def bucket(clients: Any) -> str:
    """A bucket of the test's own."""
    name = f"maps-{uuid.uuid4().hex[:8]}"
    clients.s3.create_bucket(Bucket=name)
    return name


def a_map(function: str, **fields: Any) -> dict[str, Any]:
    """A machine whose one state maps a manifest's batches to *function*."""
    child = task(function, End=True)
    state = {
        "Type": "Map",
        "Label": "Batches",
        "ItemReader": {
            "Resource": "arn:aws:states:::s3:getObject",
            "ReaderConfig": {"InputType": "JSONL"},
            "Parameters": {"Bucket.$": "$.bucket", "Key": "items.jsonl"},
        },
        "ItemBatcher": {"MaxItemsPerBatch": 4, "BatchInput": {"from.$": "$.bucket"}},
        "ItemProcessor": {
            "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "EXPRESS"},
            "StartAt": "Each",
            "States": {"Each": child},
        },
        "ResultWriter": {
            "Resource": "arn:aws:states:::s3:putObject",
            "Parameters": {"Bucket.$": "$.bucket", "Prefix": "out/"},
        },
        "End": True,
        **fields,
    }
    return {"StartAt": "All", "States": {"All": {k: v for k, v in state.items() if v is not None}}}


def run(clients: Any, bucket: str, definition: dict[str, Any], items: Items, **event: Any) -> dict[str, Any]:
    """Put the manifest, run the machine, and wait for its end."""
    lines = "".join(f"{json.dumps(item)}\n" for item in items)
    clients.s3.put_object(Bucket=bucket, Key="items.jsonl", Body=lines.encode())
    arn = machine(clients, definition, "STANDARD")
    execution = clients.stepfunctions.start_execution(
        stateMachineArn=arn, input=json.dumps({"bucket": bucket, **event})
    )["executionArn"]
    while (found := clients.stepfunctions.describe_execution(executionArn=execution))["status"] == "RUNNING":
        time.sleep(0.02)
    return dict(found)


def result_files(clients: Any, bucket: str) -> dict[str, Items]:
    """What the ResultWriter wrote, by status."""
    files: dict[str, Items] = {}
    for found in clients.s3.list_objects_v2(Bucket=bucket, Prefix="out/")["Contents"]:
        name = found["Key"].rsplit("/", 1)[1].removesuffix(".json").removesuffix("_0")
        files[name] = json.loads(clients.s3.get_object(Bucket=bucket, Key=found["Key"])["Body"].read())
    return files


def map_run(clients: Any, execution: str) -> dict[str, Any]:
    """The one map run of an execution."""
    (found,) = clients.stepfunctions.list_map_runs(executionArn=execution)["mapRuns"]
    return dict(clients.stepfunctions.describe_map_run(mapRunArn=found["mapRunArn"]))


def has_child(clients: Any, execution: str) -> bool:
    """Whether a child of the execution's map run has started."""
    runs = clients.stepfunctions.list_map_runs(executionArn=execution)["mapRuns"]
    return bool(runs) and map_run(clients, execution)["itemCounts"]["running"] > 0


def test_items_go_in_batches_and_results_to_s3(clients: Any, function: Any, bucket: str) -> None:
    """Ten lines in batches of four are three children; the output says where their results lie."""
    found = run(clients, bucket, a_map(function.arn), [{"n": n} for n in range(10)])
    files = result_files(clients, bucket)
    inputs = [json.loads(entry["Input"]) for entry in files["SUCCEEDED"]]
    assert [len(each["Items"]) for each in inputs] == [4, 4, 2]
    assert [item["n"] for each in inputs for item in each["Items"]] == list(range(10))
    assert {each["BatchInput"]["from"] for each in inputs} == {bucket}
    details = json.loads(found["output"])["ResultWriterDetails"]
    assert details["Bucket"] == bucket
    assert details["Key"].startswith("out/")
    assert set(files) == {"manifest", "SUCCEEDED"}
    counts = map_run(clients, found["executionArn"])
    assert (counts["itemCounts"]["succeeded"], counts["executionCounts"]["succeeded"]) == (10, 3)


def test_a_batch_holds_no_more_bytes_than_allowed(clients: Any, function: Any, bucket: str) -> None:
    """MaxInputBytesPerBatch closes a batch before it would grow too large."""
    batcher = {"MaxInputBytesPerBatch": 400}
    run(clients, bucket, a_map(function.arn, ItemBatcher=batcher), [{"text": "x" * 100} for _ in range(7)])
    inputs = [entry["Input"] for entry in result_files(clients, bucket)["SUCCEEDED"]]
    assert all(len(each) <= 400 for each in inputs)
    assert sum(len(json.loads(each)["Items"]) for each in inputs) == 7


def test_tolerated_failures_do_not_fail_the_run(clients: Any, function: Any, bucket: str) -> None:
    """A failed child within the tolerated percentage is named in FAILED, with its error, and the run succeeds."""
    definition = a_map(function.arn, ItemBatcher=None, ToleratedFailurePercentage=10)
    found = run(clients, bucket, definition, [{"dark": n == 3} for n in range(10)])
    assert found["status"] == "SUCCEEDED"
    (failed,) = result_files(clients, bucket)["FAILED"]
    assert (failed["Error"], json.loads(failed["Input"])) == ("TooDark", {"dark": True})


def test_too_many_failures_end_the_run_early(clients: Any, function: Any, bucket: str) -> None:
    """Past the tolerated percentage no further child starts, and what never started is named too."""
    definition = a_map(function.arn, ItemBatcher=None, MaxConcurrencyPath="$.at_once", ToleratedFailurePercentage=10)
    found = run(clients, bucket, definition, [{"dark": True}] * 20, at_once=1)
    assert (found["status"], found["error"]) == ("FAILED", "States.ExceedToleratedFailureThreshold")
    files = result_files(clients, bucket)
    assert (len(files["FAILED"]), len(files["PENDING"])) == (3, 17)
    assert function()[0]["calls"] == 4


def test_without_files_the_outputs_stand_in_the_state(clients: Any, function: Any, bucket: str) -> None:
    """No ResultWriter: the state's output is the list of the children's."""
    found = run(clients, bucket, a_map(function.arn, ResultWriter=None), [{"n": n} for n in range(5)])
    assert len(json.loads(found["output"])) == 2


def test_items_that_cannot_be_read_fail_the_state(clients: Any, function: Any, bucket: str) -> None:
    """A manifest that is not JSON Lines is States.ItemReaderFailed."""
    definition = a_map(function.arn)
    clients.s3.put_object(Bucket=bucket, Key="broken.jsonl", Body=b"{no json\n")
    definition["States"]["All"]["ItemReader"]["Parameters"]["Key"] = "broken.jsonl"
    assert run(clients, bucket, definition, [])["error"] == "States.ItemReaderFailed"


def test_a_stopped_execution_starts_no_further_child(clients: Any, function: Any, bucket: str) -> None:
    """StopExecution ends the map run as ABORTED; the children that had not started never do."""
    lines = "".join(f"{json.dumps({'sleep': 1})}\n" for _ in range(50))
    clients.s3.put_object(Bucket=bucket, Key="items.jsonl", Body=lines.encode())
    arn = machine(clients, a_map(function.arn, ItemBatcher=None, MaxConcurrency=1), "STANDARD")
    execution = clients.stepfunctions.start_execution(stateMachineArn=arn, input=json.dumps({"bucket": bucket}))
    assert eventually(lambda: has_child(clients, execution["executionArn"]))
    clients.stepfunctions.stop_execution(executionArn=execution["executionArn"])
    while (found := map_run(clients, execution["executionArn"]))["status"] == "RUNNING":
        time.sleep(0.02)
    assert found["status"] == "ABORTED"
    assert found["itemCounts"]["pending"] > 40
