"""Distributed Map: batches of items, tolerated failures and result files, as AWS documents them.

Sources, below https://docs.aws.amazon.com/step-functions/latest/dg/: state-map-distributed.html,
input-output-itembatcher.html, maprun-fail-threshold.html and input-output-resultwriter.html
"""

import contextvars
import copy
import json
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from ministack.services import stepfunctions as sfn

from scones_local.storage import ObjectStore
from scones_local.wire import Json

DEFAULT_CONCURRENCY = 64
"""How many children run at the same time where the definition sets no limit; on AWS it is 10,000."""
MAX_INPUT_BYTES = 262_144
STATUSES = ("SUCCEEDED", "FAILED", "PENDING")
_COUNTS = ("pending", "running", "succeeded", "failed", "timedOut", "aborted", "total", "resultsWritten",
            "failuresNotRedrivable", "pendingRedrive")  # fmt: skip


@dataclass(slots=True)
class ChildExecution:
    """One child execution: its input, its number of items, and its status; PENDING until it started."""

    input: Any
    items: int
    record: Json = field(default_factory=dict)
    status: str = "PENDING"


def install() -> None:
    """Replace ministack's Distributed Map, which has neither batches nor result files, and tolerates all failures."""
    sfn._run_distributed_map = run


def run(  # noqa: PLR0913 - ministack's signature
    state: Json, raw_input: Any, effective: Any, iterator: Json, execution: Json, ctx: Json
) -> tuple[Any, Any]:
    """Run the state; return its output and the name of the next state.

    Raises:
        sfn._ExecutionError: more items failed than are tolerated, or the items could not be read.
    """
    map_run = MapRun(state, effective, iterator, execution, ctx)
    map_run.work()
    result = map_run.result()
    output = sfn._apply_result_path(state, raw_input, sfn._apply_result_selector(state, result))
    return sfn._apply_output_path(state, output, ctx), sfn._next_or_end(state)


class MapRun:
    """One run of a Distributed Map state."""

    def __init__(self, state: Json, effective: Any, iterator: Json, execution: Json, ctx: Json) -> None:
        self._state, self._effective, self._iterator = state, effective, iterator
        self._parent, self._ctx = execution, ctx
        items = self._items()
        self._children = (
            list(self._batches(items)) if "ItemBatcher" in state else [ChildExecution(each, 1) for each in items]
        )
        self._at_once = int(self._number("MaxConcurrency")) or min(max(len(items), 1), DEFAULT_CONCURRENCY)
        self._lock = threading.Lock()
        self._over = threading.Event()
        _, _, _, region, account, _, machine = execution["stateMachineArn"].split(":")
        self._uuid, label = str(uuid.uuid4()), state.get("Label") or str(uuid.uuid4())
        self._where = f"arn:aws:states:{region}:{account}"
        self._machine = f"{machine}/{label}"
        zero = dict.fromkeys(_COUNTS, 0)
        self._record: Json = {
            "mapRunArn": f"{self._where}:mapRun:{self._machine}:{self._uuid}",
            "executionArn": execution["executionArn"],
            "status": "RUNNING",
            "startDate": sfn.now_iso(),
            "maxConcurrency": int(self._number("MaxConcurrency")),
            "toleratedFailurePercentage": float(self._number("ToleratedFailurePercentage")),
            "toleratedFailureCount": int(self._number("ToleratedFailureCount")),
            "itemCounts": {**zero, "total": len(items), "pending": len(items)},
            "executionCounts": {**zero, "total": len(self._children), "pending": len(self._children)},
            "redriveCount": 0,
            "_stateMachineArn": f"{self._where}:stateMachine:{self._machine}",
        }
        sfn._map_runs[self._record["mapRunArn"]] = self._record

    def work(self) -> None:
        """Run the children, write the result files, and fail if too many items did."""
        with ThreadPoolExecutor(self._at_once) as pool:
            running = [pool.submit(contextvars.copy_context().run, self._run, child) for child in self._children]
        for each in running:
            each.result()  # an error that is not the child's own is the interpreter's, and fails the execution
        aborted = self._parent["status"] != "RUNNING"
        self._record["status"] = "ABORTED" if aborted else "FAILED" if self._over.is_set() else "SUCCEEDED"
        self._record["stopDate"] = sfn.now_iso()
        if "ResultWriter" in self._state:
            self._write()
        if self._over.is_set():
            raise sfn._ExecutionError(
                "States.ExceedToleratedFailureThreshold", "The specified tolerated failure threshold was exceeded"
            )

    def result(self) -> Any:
        """The state's output: the children's outputs, or where the result files are."""
        if "ResultWriter" not in self._state:
            return [json.loads(child.record["output"]) for child in self._children if child.status == "SUCCEEDED"]
        bucket, folder = self._destination()
        details = {"Bucket": bucket, "Key": f"{folder}/manifest.json"}
        return {"MapRunArn": self._record["mapRunArn"], "ResultWriterDetails": details}

    def _number(self, name: str) -> float:
        """A limit from the definition, or from the input by its Path; 0 if there is none."""
        path = self._state.get(f"{name}Path")
        found = sfn._resolve_path_or_ctx(path, self._effective, self._ctx) if path else self._state.get(name, 0)
        if isinstance(found, bool) or not isinstance(found, int | float) or found < 0:
            raise sfn._ExecutionError("States.Runtime", f"{name} must be a number of at least 0, not {found!r}")
        return float(found)

    def _items(self) -> list[Any]:
        state, effective = self._state, self._effective
        if "ItemReader" in state:
            try:
                items = sfn._read_map_items(state["ItemReader"], effective, self._ctx)
            except (ValueError, KeyError, IndexError) as error:
                raise sfn._ExecutionError("States.ItemReaderFailed", f"the items cannot be read: {error}") from error
        else:
            items = sfn._resolve_path_or_ctx(state.get("ItemsPath", "$"), effective, self._ctx)
        if not isinstance(items, list):
            raise sfn._ExecutionError("States.Runtime", "the items of a Map must be an array")
        selector = state.get("ItemSelector") or state.get("Parameters")
        return [self._selected(selector, at, item) for at, item in enumerate(items)] if selector else items

    def _selected(self, selector: Json, index: int, item: Any) -> Any:
        ctx = {**self._ctx, "Map": {"Item": {"Index": index, "Value": item}}}
        return sfn._resolve_params_obj(selector, self._effective, ctx)

    def _batches(self, items: list[Any]) -> Iterator[ChildExecution]:
        """Fill each child up to the allowed number of items or bytes, in the items' order."""
        batcher = self._state["ItemBatcher"]
        max_items = int(batcher.get("MaxItemsPerBatch") or len(items) or 1)
        max_bytes = int(batcher.get("MaxInputBytesPerBatch") or MAX_INPUT_BYTES)
        head = {}
        if "BatchInput" in batcher:
            head["BatchInput"] = sfn._resolve_params_obj(batcher["BatchInput"], self._effective, self._ctx)
        empty = size = len(json.dumps({**head, "Items": []}))
        batch: list[Any] = []
        for item in items:
            more = len(json.dumps(item)) + 2
            if batch and (len(batch) >= max_items or size + more > max_bytes):
                yield ChildExecution({**head, "Items": batch}, len(batch))
                batch, size = [], empty
            batch.append(item)
            size += more
        if batch:
            yield ChildExecution({**head, "Items": batch}, len(batch))

    def _run(self, child: ChildExecution) -> None:
        if self._over.is_set() or self._parent["status"] != "RUNNING":
            return
        name = str(uuid.uuid4())
        child.record = {
            "executionArn": f"{self._where}:execution:{self._machine}:{name}",
            "stateMachineArn": self._record["_stateMachineArn"],
            "name": name,
            "status": "RUNNING",
            "startDate": sfn.now_iso(),
            "stopDate": None,
            "input": json.dumps(child.input),
            "output": None,
            "mapRunArn": self._record["mapRunArn"],
            "events": [],
        }
        if self._iterator["ProcessorConfig"].get("ExecutionType") != "EXPRESS":  # only those are listed
            sfn._executions[child.record["executionArn"]] = child.record
        self._move(child, "pending", "running")
        self._execute(child)
        child.record |= {"status": child.status, "stopDate": sfn.now_iso()}
        child.record["events"].clear()  # no request reads them, and they hold each input and output again
        self._move(child, "running", child.status.lower())

    def _execute(self, child: ChildExecution) -> None:
        start, states = self._iterator["StartAt"], self._iterator["States"]
        try:
            output = sfn._run_sub_machine(states, start, child.input, child.record, copy.deepcopy(self._ctx))
        except sfn._ExecutionError as error:
            child.status = "FAILED"
            child.record |= {"error": error.error, "cause": error.cause}
        else:
            child.status = "SUCCEEDED"
            child.record["output"] = json.dumps(output)

    def _move(self, child: ChildExecution, left: str, reached: str) -> None:
        with self._lock:
            for counts, by in ((self._record["itemCounts"], child.items), (self._record["executionCounts"], 1)):
                counts[left] -= by
                counts[reached] += by
            if reached == "failed" and self._exceeded():
                self._over.set()

    def _exceeded(self) -> bool:
        """Whether more items failed than are tolerated; without a limit, none is."""
        items = self._record["itemCounts"]
        limits = []
        if {"ToleratedFailureCount", "ToleratedFailureCountPath"} & set(self._state):
            limits.append(items["failed"] > self._record["toleratedFailureCount"])
        if {"ToleratedFailurePercentage", "ToleratedFailurePercentagePath"} & set(self._state):
            limits.append(items["failed"] * 100 > self._record["toleratedFailurePercentage"] * items["total"])
        return any(limits) if limits else True

    def _destination(self) -> tuple[str, str]:
        parameters = sfn._resolve_params_obj(self._state["ResultWriter"]["Parameters"], self._effective, self._ctx)
        prefix = str(parameters.get("Prefix", "")).strip("/")
        return parameters["Bucket"], f"{prefix}/{self._uuid}" if prefix else self._uuid

    def _write(self) -> None:
        bucket, folder = self._destination()
        store, files = ObjectStore(), {}
        try:
            for status in STATUSES:
                found = [_described(child) for child in self._children if child.status == status]
                key, body = f"{folder}/{status}_0.json", json.dumps(found).encode()
                files[status] = [{"Key": key, "Size": len(body)}] if found else []
                if found:
                    store.put(f"s3://{bucket}/{key}", body, "application/json")
            manifest = {"DestinationBucket": bucket, "MapRunArn": self._record["mapRunArn"], "ResultFiles": files}
            store.put(f"s3://{bucket}/{folder}/manifest.json", json.dumps(manifest).encode(), "application/json")
        except OSError as error:
            raise sfn._ExecutionError("States.ResultWriterFailed", str(error)) from error
        for counts in (self._record["itemCounts"], self._record["executionCounts"]):
            counts["resultsWritten"] = counts["succeeded"] + counts["failed"]


def _described(child: ChildExecution) -> Json:
    """One entry of a result file."""
    included = {"Included": True}
    entry: Json = {"Input": json.dumps(child.input), "InputDetails": included, "Status": child.status}
    for name in ("executionArn", "name", "output", "error", "cause", "startDate", "stateMachineArn", "stopDate"):
        if child.record.get(name) is not None:
            entry[name[0].upper() + name[1:]] = child.record[name]
    return entry | ({"OutputDetails": included} if "Output" in entry else {})
