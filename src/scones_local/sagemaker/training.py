"""Training jobs: a program under SageMaker's container contract, in a folder of its own.

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo.html
"""

import re
import shutil
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from scones_local.cloudwatch import MetricBuffer
from scones_local.processes import end_tree
from scones_local.quotas import ServiceQuotas
from scones_local.sagemaker.containers import (
    ContainerError,
    ContainerRunner,
    download,
    fetch_checkpoints,
    pack_folder,
    training_variables,
    upload_checkpoints,
    write_config,
)
from scones_local.sagemaker.image_classification import METRICS, WRONG_INPUT, check_job
from scones_local.sagemaker.tables import CHANNEL_NAME, ResourceTables, check_name, invalid, now
from scones_local.wire import Json

MAX_REASON_CHARACTERS = 1024
MAX_HYPERPARAMETERS = 100
STOP_SECONDS = 120.0
LOG_GROUP = "/aws/sagemaker/TrainingJobs"
"""Of the jobs' logs; the namespace of their metrics has the same name."""
MESSAGES = {
    "Starting": "Starting the training job",
    "Downloading": "Downloading input data",
    "Training": "Training image download completed. Training in progress.",
    "Stopping": "Stopping the training job",
    "Uploading": "Uploading generated training model",
    "Completed": "Training job completed",
    "Stopped": "Training job stopped",
    "MaxRuntimeExceeded": "Training job runtime exceeded MaxRuntimeInSeconds provided",
    "Failed": "Training job failed",
}
DESCRIBED = (
    "AlgorithmSpecification",
    "RoleArn",
    "InputDataConfig",
    "OutputDataConfig",
    "ResourceConfig",
    "VpcConfig",
    "StoppingCondition",
    "HyperParameters",
    "EnableNetworkIsolation",
    "EnableInterContainerTrafficEncryption",
    "EnableManagedSpotTraining",
    "CheckpointConfig",
    "Environment",
    "RetryStrategy",
)
SUMMARY = (
    "TrainingJobName",
    "TrainingJobArn",
    "CreationTime",
    "TrainingEndTime",
    "LastModifiedTime",
    "TrainingJobStatus",
)


@dataclass(slots=True)
class TrainingJobs:
    """Starts, describes and stops training jobs."""

    tables: ResourceTables
    runner: ContainerRunner
    folder: Path
    quotas: ServiceQuotas
    metrics: MetricBuffer

    def create(self, query: Json) -> Json:
        """CreateTrainingJob: check the request, and run the job in the background."""
        algorithm = query["AlgorithmSpecification"]
        if "AlgorithmName" in algorithm:
            raise invalid("AlgorithmName is not supported by the local cloud: give the image as TrainingImage")
        self.runner.check_image(algorithm.get("TrainingImage", ""))
        if built_in := self.runner.trains_algorithm(algorithm["TrainingImage"]):
            check_job(query)
        if algorithm.get("ContainerEntrypoint") or algorithm.get("ContainerArguments"):
            raise invalid("ContainerEntrypoint and ContainerArguments are not supported by the local cloud")
        _check_spot_wait(query)
        _check_hyperparameters(query.get("HyperParameters") or {})
        for channel in query.get("InputDataConfig") or ():
            check_name("channelName", channel["ChannelName"], CHANNEL_NAME)
        with self.tables.lock:
            self._check_quota(query)
            record = self.tables.jobs.add(
                query["TrainingJobName"],
                {k: query[k] for k in DESCRIBED if k in query}
                # SageMaker describes a key, or none, also of jobs without one: the SDK's Estimator.attach reads it.
                | {"OutputDataConfig": {"KmsKeyId": "", **query["OutputDataConfig"]}}
                | {"TrainingJobStatus": "InProgress", "CreationTime": now(), "SecondaryStatusTransitions": []}
                | {"ModelArtifacts": {"S3ModelArtifacts": f"{_output(query)}/model.tar.gz"}},
            )
            if built_in:
                record["AlgorithmSpecification"] = {**algorithm, "MetricDefinitions": list(METRICS)}
            self.tables.add_tags(record["TrainingJobArn"], query.get("Tags"))
        _set_status(record, "Starting")
        folder = self.folder / query["TrainingJobName"]
        TrainingProcess(record, self.runner, folder, self.metrics, built_in=built_in).start()
        return {"TrainingJobArn": record["TrainingJobArn"]}

    def _check_quota(self, query: Json) -> None:
        machine, spot = query["ResourceConfig"], bool(query.get("EnableManagedSpotTraining"))
        running = [
            row for row in self.tables.jobs.rows.values() if row["TrainingJobStatus"] in ("InProgress", "Stopping")
        ]
        used = [
            int(row["ResourceConfig"]["InstanceCount"])
            for row in running
            if row["ResourceConfig"]["InstanceType"] == machine["InstanceType"]
            and bool(row.get("EnableManagedSpotTraining")) == spot
        ]
        name = f"{machine['InstanceType']} for {'spot ' if spot else ''}training job usage"
        self.quotas.check_instances(name, sum(used), int(machine["InstanceCount"]))

    def describe(self, query: Json) -> Json:
        """DescribeTrainingJob."""
        record = self.tables.jobs.find(query["TrainingJobName"])
        return {name: value for name, value in record.items() if not name.startswith("_")}

    def stop(self, query: Json) -> Json:
        """StopTrainingJob: TERM now, KILL after two minutes, as SageMaker does."""
        record = self.tables.jobs.find(query["TrainingJobName"])
        if record["TrainingJobStatus"] != "InProgress":
            raise invalid(
                f"The request was rejected because the training job is in status {record['TrainingJobStatus']}."
            )
        record["TrainingJobStatus"] = "Stopping"
        _set_status(record, "Stopping")
        record["_stop"].set()
        return {}

    def summaries(self, query: Json) -> Json:
        """ListTrainingJobs."""
        page = self.tables.jobs.listing(query, SUMMARY)
        return {"TrainingJobSummaries": page.pop("items"), **page}


def _check_hyperparameters(chosen: Json) -> None:
    """Raises ServiceError for more, or longer ones, than SageMaker takes."""
    for member, longest, values in (("key", 256, chosen.keys()), ("value", 2500, chosen.values())):
        if too_long := [value for value in values if len(str(value)) > longest]:
            raise invalid(
                f"1 validation error detected: Value {too_long[0]!r} at 'hyperParameters' failed to satisfy "
                f"constraint: Map {member} must have length less than or equal to {longest}"
            )
    if len(chosen) > MAX_HYPERPARAMETERS:
        raise invalid(f"Member 'hyperParameters' must have length less than or equal to {MAX_HYPERPARAMETERS}")


def _check_spot_wait(query: Json) -> None:
    """Refuse, as SageMaker does, a wait for Spot that is shorter than the job, and a wait without Spot.

    The local cloud never waits for Spot capacity, and never interrupts a job.
    """
    limit = query["StoppingCondition"]
    wait = limit.get("MaxWaitTimeInSeconds")
    if not query.get("EnableManagedSpotTraining"):
        if wait is not None:
            raise invalid("MaxWaitTimeInSeconds above 0 is not supported when EnableManagedSpotTraining is false")
    elif wait is None or wait < limit.get("MaxRuntimeInSeconds", 86_400):
        raise invalid("MaxWaitTimeInSeconds must be given for Spot, and be at least MaxRuntimeInSeconds")


class TrainingProcess:
    """One run of the training program."""

    def __init__(
        self, record: Json, runner: ContainerRunner, folder: Path, buffer: MetricBuffer, *, built_in: bool
    ) -> None:
        self._record = record
        self._buffer = buffer
        self._built_in = built_in
        self._runner = runner
        self._folder = folder
        self._stop: threading.Event = record.setdefault("_stop", threading.Event())
        self._name: str = record["TrainingJobName"]
        self._metrics: dict[str, Json] = {}
        self._last_line = ""

    def start(self) -> None:
        """Run the job in a thread of its own."""
        threading.Thread(target=self._run, name=f"training-{self._name}", daemon=True).start()

    def _run(self) -> None:
        try:
            self._finish(*self._work())
        except ContainerError as error:
            self._finish("Failed", f"ClientError: {error}")
        except OSError as error:
            self._finish("Failed", f"InternalServerError: {error}")
        finally:
            if self._record["TrainingJobStatus"] in ("InProgress", "Stopping"):
                self._finish("Failed", "InternalServerError: the local cloud failed; see its log")
            shutil.rmtree(self._folder, ignore_errors=True)

    def _work(self) -> tuple[str, str]:
        """Returns the last secondary status and, if the job failed, the reason."""
        write_config(self._folder, self._record)
        _set_status(self._record, "Downloading")
        for channel in self._record.get("InputDataConfig") or []:
            download(self._runner.store, channel, self._folder / "input" / "data" / channel["ChannelName"])
        fetch_checkpoints(self._runner.store, self._record, self._folder)
        if self._stop.is_set():
            return "Stopped", ""
        self._record["TrainingStartTime"] = now()
        _set_status(self._record, "Training")
        code, ending = self._train()
        self._record["TrainingEndTime"] = now()
        upload_checkpoints(self._runner.store, self._record, self._folder)
        if ending is None and code != 0:
            side = "ClientError" if self._built_in and code == WRONG_INPUT else "AlgorithmError"
            return "Failed", f"{side}: {self._failure()}, exit code: {code}"
        _set_status(self._record, "Uploading")
        self._upload()
        return ending or "Completed", ""

    def _train(self) -> tuple[int, str | None]:
        """Run the program; returns its exit code and, if it was ended early, the secondary status for that."""
        limit = float((self._record.get("StoppingCondition") or {}).get("MaxRuntimeInSeconds") or 86400)
        deadline = time.monotonic() + limit
        programs = self._runner.programs
        program = programs.image_classification if self._built_in else programs.train
        process = self._runner.start(program, self._folder, training_variables(self._folder, self._record))
        reader = threading.Thread(target=self._read_log, args=(process.stdout,), daemon=True)
        reader.start()
        ending = None
        while process.poll() is None:
            if ending is None and (self._stop.wait(0.05) or time.monotonic() > deadline):
                ending = "Stopped" if self._stop.is_set() else "MaxRuntimeExceeded"
                end_tree(process, STOP_SECONDS)
        reader.join(5.0)
        if process.stdout:
            process.stdout.close()
        return process.returncode, ending

    def _read_log(self, lines: IO[bytes] | None) -> None:
        """Write the program's lines to CloudWatch Logs, and read from them the metrics that the job defines."""
        definitions = [
            (d["Name"], re.compile(d["Regex"]))
            for d in self._record["AlgorithmSpecification"].get("MetricDefinitions") or []
        ]
        stream = f"{self._name}/algo-1-{int(time.time())}"
        for raw in lines or ():
            line = raw.decode(errors="replace").rstrip("\n")
            self._last_line = line or self._last_line
            self._runner.logs.write(LOG_GROUP, stream, line)
            for name, pattern in definitions:
                if (found := pattern.search(line)) and (value := _number(found)) is not None:
                    self._metrics[name] = {"MetricName": name, "Value": value, "Timestamp": now()}
                    self._record["FinalMetricDataList"] = list(self._metrics.values())
                    self._buffer.add(LOG_GROUP, {"TrainingJobName": self._name}, {name: value})

    def _failure(self) -> str:
        try:
            text = (self._folder / "output" / "failure").read_text(errors="replace")
        except OSError:
            text = ""
        # On a full disk the file exists and is empty.
        return (text.strip() or self._last_line)[:MAX_REASON_CHARACTERS]

    def _upload(self) -> None:
        base = _output(self._record)
        if any((self._folder / "model").iterdir()):
            self._runner.store.put(f"{base}/model.tar.gz", pack_folder(self._folder / "model"))
        if any((self._folder / "output" / "data").iterdir()):
            self._runner.store.put(f"{base}/output.tar.gz", pack_folder(self._folder / "output" / "data"))

    def _finish(self, secondary: str, reason: str) -> None:
        status = "Stopped" if secondary in ("Stopped", "MaxRuntimeExceeded") else secondary
        if reason:
            self._record["FailureReason"] = reason[:MAX_REASON_CHARACTERS]
        self._record.setdefault("TrainingEndTime", now())
        began = self._record.get("TrainingStartTime", self._record["TrainingEndTime"])
        self._record["TrainingTimeInSeconds"] = self._record["BillableTimeInSeconds"] = max(
            1, round(self._record["TrainingEndTime"] - began)
        )
        _set_status(self._record, secondary, reason)
        self._record["TrainingJobStatus"] = status


def _output(record: Json) -> str:
    return f"{record['OutputDataConfig']['S3OutputPath'].rstrip('/')}/{record['TrainingJobName']}/output"


def _set_status(record: Json, status: str, message: str = "") -> None:
    """Record a change of the secondary status."""
    moment = now()
    transitions = record["SecondaryStatusTransitions"]
    if transitions:
        transitions[-1]["EndTime"] = moment
    transitions.append({"Status": status, "StartTime": moment, "StatusMessage": message or MESSAGES[status]})
    if status in ("Completed", "Failed", "Stopped", "MaxRuntimeExceeded"):
        transitions[-1]["EndTime"] = moment
    record["SecondaryStatus"] = status
    record["LastModifiedTime"] = moment


def _number(found: re.Match[str]) -> float | None:
    try:
        return float(found[1] if found.re.groups else found[0])
    except (TypeError, ValueError):
        return None
