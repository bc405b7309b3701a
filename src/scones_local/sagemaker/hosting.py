"""Models, endpoint configurations and endpoints: the control plane of hosting.

Sources, below https://docs.aws.amazon.com/sagemaker/latest/dg/: deployment-guardrails-blue-green.html and
serverless-endpoints.html
"""

import shutil
import threading
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

from scones_local.cloudwatch import alarm_state
from scones_local.quotas import ServiceQuotas
from scones_local.sagemaker.capture import CaptureWriter
from scones_local.sagemaker.containers import ContainerError, ContainerRunner, unpack_model
from scones_local.sagemaker.fleet import STARTUP_SECONDS, EndpointFleets, ModelServer, ServerFailed, ServerFleet
from scones_local.sagemaker.tables import ResourceTable, ResourceTables, invalid, now
from scones_local.wire import Json

MAX_INSTANCES = 8
POLL_SECONDS = 0.05
MAX_WAIT_SECONDS = 3600
MIN_LIMIT_SECONDS, MAX_LIMIT_SECONDS = 600, 28800
IN_PROGRESS = ("Creating", "Updating")
SERVERLESS_MEMORY_MB = tuple(range(1024, 6145, 1024))
MAX_SERVERLESS_CONCURRENCY = 200
MODEL_MEMBERS = ("PrimaryContainer", "Containers", "ExecutionRoleArn", "VpcConfig", "EnableNetworkIsolation")
CONFIG_MEMBERS = ("ProductionVariants", "DataCaptureConfig", "KmsKeyId", "AsyncInferenceConfig", "ExecutionRoleArn")
SUMMARIES = {
    "Model": ("ModelName", "ModelArn", "CreationTime"),
    "EndpointConfig": ("EndpointConfigName", "EndpointConfigArn", "CreationTime"),
    "Endpoint": ("EndpointName", "EndpointArn", "CreationTime", "LastModifiedTime", "EndpointStatus"),
}


@dataclass(frozen=True, slots=True)
class TrafficShift:
    """The green fleet's share of the traffic after each step, and what happens between them."""

    shares: tuple[float, ...] = (1.0,)
    wait_seconds: int = 0
    termination_seconds: int = 0
    limit_seconds: int = MAX_LIMIT_SECONDS
    alarms: tuple[str, ...] = ()


def traffic_shift(config: Json | None, instances: int) -> TrafficShift:
    """Read a DeploymentConfig for a fleet of *instances*; without one, all traffic moves at once.

    Raises:
        ServiceError: SageMaker refuses it, or the local cloud does not support it.
    """
    if not config:
        return TrafficShift()
    policy = config.get("BlueGreenUpdatePolicy")
    if not policy or config.get("RollingUpdatePolicy"):
        raise invalid("The local cloud updates endpoints by BlueGreenUpdatePolicy only")
    routing = policy["TrafficRoutingConfiguration"]
    shares = _shares(routing, instances)
    wait, termination = routing.get("WaitIntervalInSeconds", 0), policy.get("TerminationWaitInSeconds", 0)
    limit = policy.get("MaximumExecutionTimeoutInSeconds", MAX_LIMIT_SECONDS)
    if max(wait, termination) > MAX_WAIT_SECONDS or min(wait, termination) < 0:
        raise invalid(f"WaitIntervalInSeconds and TerminationWaitInSeconds are 0 to {MAX_WAIT_SECONDS}")
    if not max(MIN_LIMIT_SECONDS, wait * len(shares) + termination) <= limit <= MAX_LIMIT_SECONDS:
        raise invalid(
            f"MaximumExecutionTimeoutInSeconds is {MIN_LIMIT_SECONDS} to {MAX_LIMIT_SECONDS}, "
            "and no less than all the waits together"
        )
    alarms = (config.get("AutoRollbackConfiguration") or {}).get("Alarms") or []
    return TrafficShift(shares, wait, termination, limit, tuple(alarm["AlarmName"] for alarm in alarms))


def _shares(routing: Json, instances: int) -> tuple[float, ...]:
    kind = routing["Type"]
    if kind == "ALL_AT_ONCE":
        return (1.0,)
    member, smallest = {"CANARY": ("CanarySize", 0.0), "LINEAR": ("LinearStepSize", 0.1)}[kind]
    if member not in routing:
        raise invalid(f"{member} is required for {kind} traffic routing")
    size, whole = routing[member]["Value"], instances if routing[member]["Type"] == "INSTANCE_COUNT" else 100
    if not smallest <= size / whole <= 0.5:
        raise invalid(f"{member} must be {smallest:.0%} to 50% of the variant's {instances} instance(s)")
    if kind == "CANARY":
        return size / whole, 1.0
    return tuple(min(done, whole) / whole for done in range(size, whole + size, size))


def _check_serverless(variant: Json, *, captures: bool) -> None:
    """Raises ServiceError for a serverless variant that SageMaker refuses."""
    config = variant["ServerlessConfig"]
    if config["MemorySizeInMB"] not in SERVERLESS_MEMORY_MB:
        raise invalid(f"MemorySizeInMB {config['MemorySizeInMB']} is not one of {SERVERLESS_MEMORY_MB}")
    if not 1 <= config["MaxConcurrency"] <= MAX_SERVERLESS_CONCURRENCY:
        raise invalid(f"MaxConcurrency {config['MaxConcurrency']} is not between 1 and {MAX_SERVERLESS_CONCURRENCY}")
    if captures:
        raise invalid("DataCaptureConfig is not supported with a serverless variant.")
    if {"InstanceType", "InitialInstanceCount"} & variant.keys():
        raise invalid("A variant has either a ServerlessConfig or instances, not both.")


class EndpointHosting:
    """Creates, describes, updates and deletes models, endpoint configurations and endpoints."""

    def __init__(self, tables: ResourceTables, runner: ContainerRunner, folder: Path, quotas: ServiceQuotas) -> None:
        self.capture = CaptureWriter(runner.store)
        self.deployments: dict[str, EndpointFleets] = {}
        self._tables = tables
        self._runner = runner
        self._folder = folder
        self._quotas = quotas

    def create_model(self, query: Json) -> Json:
        """CreateModel: one container, whose archive must exist."""
        container = query.get("PrimaryContainer") or (query.get("Containers") or [{}])[0]
        if len(query.get("Containers") or []) > 1:
            raise invalid("Inference pipelines of several containers are not supported by the local cloud")
        self._runner.check_image(container.get("Image", ""))
        address = container.get("ModelDataUrl")
        if address and self._runner.store.get(address) is None:
            raise invalid(f"Could not find model data at {address}.")
        return self._add(self._tables.models, query, MODEL_MEMBERS)

    def create_config(self, query: Json) -> Json:
        """CreateEndpointConfig: one variant of an existing model."""
        variants = query["ProductionVariants"]
        if len(variants) != 1 or query.get("ShadowProductionVariants"):
            raise invalid("The local cloud serves exactly one production variant of an endpoint configuration")
        self._tables.models.find(variants[0]["ModelName"])
        if not 1 <= instance_count(query) <= MAX_INSTANCES:
            raise invalid(f"The local cloud runs 1 to {MAX_INSTANCES} instances of a variant")
        if "ServerlessConfig" in variants[0]:
            _check_serverless(variants[0], captures=bool(query.get("DataCaptureConfig")))
        return self._add(self._tables.configs, query, CONFIG_MEMBERS)

    def create_endpoint(self, query: Json) -> Json:
        """CreateEndpoint: start a server in the background."""
        config = self._tables.configs.find(query["EndpointConfigName"])
        with self._tables.lock:
            self._check_quota(config)
            record = self._tables.endpoints.add(
                query["EndpointName"],
                {
                    "EndpointConfigName": query["EndpointConfigName"],
                    "EndpointStatus": "Creating",
                    "CreationTime": now(),
                },
            )
            record["LastModifiedTime"] = record["CreationTime"]
            self._tables.add_tags(record["EndpointArn"], query.get("Tags"))
        self._deploy(record, config, TrafficShift())
        return {"EndpointArn": record["EndpointArn"]}

    def update_endpoint(self, query: Json) -> Json:
        """UpdateEndpoint: blue/green; until the new fleet is healthy, the old one serves all requests."""
        record = self._tables.endpoints.find(query["EndpointName"])
        config = self._tables.configs.find(query["EndpointConfigName"])
        plan = traffic_shift(query.get("DeploymentConfig"), instance_count(config))
        deployment = self.deployments.get(query["EndpointName"])
        if "ServerlessConfig" in config["ProductionVariants"][0] and deployment:
            if query.get("DeploymentConfig"):
                raise invalid("DeploymentConfig is not supported with a serverless variant.")
            if "ServerlessConfig" not in deployment.blue.variant:
                raise invalid("An endpoint on instances cannot become serverless: delete it, and create it again.")
        self._check_scalable_target(query["EndpointName"], config, deployment)
        if query.get("RetainAllVariantProperties") and deployment:
            config = _with_instances(config, len(deployment.blue.servers))
        if unknown := [name for name in plan.alarms if alarm_state(name) is None]:
            raise invalid(f"Could not find the CloudWatch alarm(s) {', '.join(unknown)}.")
        with self._tables.lock:
            self._check_quota(config)  # the new fleet runs beside the old one
            if record["EndpointStatus"] != "InService":
                raise invalid(f'Cannot update in-progress endpoint "{record["EndpointArn"]}".')
            record["EndpointStatus"] = "Updating"
            record |= {"LastDeploymentConfig": query["DeploymentConfig"]} if "DeploymentConfig" in query else {}
        self._deploy(record, config, plan)
        return {"EndpointArn": record["EndpointArn"]}

    def _check_quota(self, config: Json) -> None:
        variant = config["ProductionVariants"][0]
        if not (instance := variant.get("InstanceType")):
            return
        names = [row["EndpointConfigName"] for row in self._tables.endpoints.rows.values()]
        standing = [self._tables.configs.rows[name] for name in names if name in self._tables.configs.rows]
        used = [
            instance_count(each) for each in standing if each["ProductionVariants"][0].get("InstanceType") == instance
        ]
        self._quotas.check_instances(f"{instance} for endpoint usage", sum(used), instance_count(config))

    def _check_scalable_target(self, name: str, config: Json, deployment: EndpointFleets | None) -> None:
        variant = config["ProductionVariants"][0]
        scaled = f"endpoint/{name}/variant/{variant['VariantName']}" in self._tables.targets
        if scaled and deployment and variant.get("InstanceType") != deployment.blue.variant.get("InstanceType"):
            raise invalid(f"Variant {variant['VariantName']} is a scalable target: deregister it to change its type.")

    def describe_endpoint(self, query: Json) -> Json:
        """DescribeEndpoint."""
        record = self._tables.endpoints.find(query["EndpointName"])
        deployment = self.deployments.get(query["EndpointName"])
        if deployment is None:
            return dict(record)
        fleet = deployment.blue
        described = {**record, "ProductionVariants": [self._summary(fleet.variant, record["CreationTime"])]}
        if fleet.capture:
            described["DataCaptureConfig"] = _capture_summary(fleet.capture)
        return described

    def delete_endpoint(self, query: Json) -> Json:
        """DeleteEndpoint: refused during a deployment; else gone at once, its servers after their requests."""
        name = query["EndpointName"]
        with self._tables.lock:
            record = self._tables.endpoints.find(name)
            if record["EndpointStatus"] in IN_PROGRESS:
                raise invalid(f'Cannot update in-progress endpoint "{record["EndpointArn"]}".')
            # SageMaker deregisters the variant with the caller's rights.
            for variant in [each for each in self._tables.targets if each.startswith(f"endpoint/{name}/")]:
                del self._tables.targets[variant]
            del self._tables.endpoints.rows[name]
            deployment = self.deployments.pop(name, None)
            self._tables.tags.pop(record["EndpointArn"], None)
        self.capture.flush()
        if deployment:
            for fleet in deployment.fleets():
                threading.Thread(target=fleet.close, daemon=True).start()
        return {}

    def delete(self, table: ResourceTable, query: Json) -> Json:
        """DeleteModel and DeleteEndpointConfig."""
        name = query[f"{table.title}Name"]
        self._tables.tags.pop(table.find(name)[f"{table.title}Arn"], None)
        del table.rows[name]
        return {}

    def summaries(self, table: ResourceTable, query: Json) -> Json:
        """ListModels, ListEndpointConfigs and ListEndpoints."""
        page = table.listing(query, SUMMARIES[table.title])
        return {f"{table.title}s": page.pop("items"), **page}

    def _add(self, table: ResourceTable, query: Json, members: tuple[str, ...]) -> Json:
        with self._tables.lock:
            kept = {k: query[k] for k in members if k in query}
            arn = f"{table.title}Arn"
            record = table.add(query[f"{table.title}Name"], {**kept, "CreationTime": now()})
            self._tables.add_tags(record[arn], query.get("Tags"))
        return {arn: record[arn]}

    def _container(self, variant: Json) -> Json:
        model = self._tables.models.rows.get(variant.get("ModelName", ""), {})
        container: Json = model.get("PrimaryContainer") or (model.get("Containers") or [{}])[0]
        return container

    def _summary(self, variant: Json, moment: float) -> Json:
        image = self._container(variant).get("Image", "")
        size = int(variant.get("InitialInstanceCount", 1))
        both = ("Current", "Desired")
        return {
            "VariantName": variant["VariantName"],
            "DeployedImages": [{"SpecifiedImage": image, "ResolvedImage": image, "ResolutionTime": moment}],
            **{f"{when}Weight": float(variant.get("InitialVariantWeight", 1)) for when in both},
            **(
                {f"{when}ServerlessConfig": variant["ServerlessConfig"] for when in both}
                if "ServerlessConfig" in variant
                else {f"{when}InstanceCount": size for when in both}
            ),
        }

    def _deploy(self, record: Json, config: Json, plan: TrafficShift) -> None:
        summary = self._summary(config["ProductionVariants"][0], now())
        pending = {"EndpointConfigName": config["EndpointConfigName"], "StartTime": now()}
        record["PendingDeploymentSummary"] = {**pending, "ProductionVariants": [{**summary, **_status("Creating")}]}
        threading.Thread(target=self._bring_up, args=(record, config, plan), name="deploy", daemon=True).start()

    def _bring_up(self, record: Json, config: Json, plan: TrafficShift) -> None:
        """Start the new fleet, move the traffic to it, end the old one; after a failed update the old one serves."""
        reason = "the local cloud failed; see its log"
        try:
            new = self._fleet(config)
            reason = self._put_in_service(record, new, plan)
        except (ServerFailed, ContainerError, OSError) as error:
            reason = str(error)
        finally:
            self._settle(record, config, reason)

    def _put_in_service(self, record: Json, new: ServerFleet, plan: TrafficShift) -> str:
        """Returns why the old fleet serves again, or an empty text if the new one serves."""
        name = record["EndpointName"]
        with self._tables.lock:
            deployment = self.deployments.get(name)
            if deployment is None and self._exists(record):
                self.deployments[name] = EndpointFleets(new)
                return ""
        reason = (
            self._shift(record, deployment, new, plan)
            if deployment
            else "the endpoint was deleted during the deployment"
        )
        if deployment and not reason:
            deployment.finish().close()
        else:
            new.close()
        return reason

    def _shift(self, record: Json, deployment: EndpointFleets, new: ServerFleet, plan: TrafficShift) -> str:
        """Shift the traffic step by step; returns why it was shifted back, if it was."""
        deadline = time.monotonic() + plan.limit_seconds
        # Alarms are checked before the first step, too: an endpoint in trouble is not updated.
        waits = [0, *(plan.wait_seconds for _ in plan.shares[1:]), plan.wait_seconds + plan.termination_seconds]
        for share, seconds in zip((0.0, *plan.shares), waits, strict=True):
            deployment.shift(new, share)
            record["PendingDeploymentSummary"]["ProductionVariants"][0] |= _status("Baking" if share else "Creating")
            until = min(time.monotonic() + seconds, deadline)
            while not (reason := self._failure(record, plan, deadline)) and time.monotonic() < until:
                time.sleep(POLL_SECONDS)
            if reason:
                deployment.shift(None, 0.0)
                return reason
        return ""

    def _failure(self, record: Json, plan: TrafficShift, deadline: float) -> str:
        if fired := [name for name in plan.alarms if alarm_state(name) == "ALARM"]:
            return f"Rolled back: the CloudWatch alarm(s) {', '.join(fired)} went into ALARM during the deployment."
        if not self._exists(record):
            return "the endpoint was deleted during the deployment"
        return "" if time.monotonic() <= deadline else "Rolled back: the deployment took longer than its time limit."

    def _exists(self, record: Json) -> bool:
        return self._tables.endpoints.rows.get(record["EndpointName"]) is record

    def _settle(self, record: Json, config: Json, reason: str) -> None:
        """Record the end of a deployment: with the new configuration, or with *reason* and the one before, if any."""
        with self._tables.lock:
            record.pop("PendingDeploymentSummary", None)
            record.pop("FailureReason", None)
            record["LastModifiedTime"] = now()
            if reason:
                record["FailureReason"] = reason
            else:
                record["EndpointConfigName"] = config["EndpointConfigName"]
            record["EndpointStatus"] = "InService" if record["EndpointName"] in self.deployments else "Failed"

    def _fleet(self, config: Json) -> ServerFleet:
        """The healthy servers of a configuration, each in a folder that is removed with it."""
        fleet = ServerFleet(
            config["EndpointConfigName"],
            config["ProductionVariants"][0],
            config.get("DataCaptureConfig") or {},
            [],
        )
        try:
            for _ in range(instance_count(config)):
                fleet.servers.append(self._server(fleet))
            for server in fleet.servers:
                server.await_healthy()
        except BaseException:
            fleet.close()
            raise
        return fleet

    def _server(self, fleet: ServerFleet) -> ModelServer:
        """Start a server in a folder of its own, without waiting for it."""
        container = self._container(fleet.variant)
        folder = self._folder / f"{fleet.config_name}-{uuid.uuid4().hex[:8]}"
        (folder / "model").mkdir(parents=True)
        try:
            if address := container.get("ModelDataUrl"):
                unpack_model(self._runner.store.get(address), folder / "model")
            variables = {**(container.get("Environment") or {}), "SAGEMAKER_BASE_DIR": str(folder)}
            startup_seconds = float(fleet.variant.get("ContainerStartupHealthCheckTimeoutInSeconds") or STARTUP_SECONDS)
            return ModelServer(self._runner, folder, variables, startup_seconds)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise


def _with_instances(config: Json, count: int) -> Json:
    """The configuration with *count* instances; a serverless one is unchanged."""
    variant = config["ProductionVariants"][0]
    if "InitialInstanceCount" not in variant:
        return config
    return {**config, "ProductionVariants": [{**variant, "InitialInstanceCount": count}]}


def _status(word: str) -> Json:
    return {"VariantStatus": [{"Status": word, "StartTime": now()}]}


def instance_count(config: Json) -> int:
    """The number of instances of the configuration's one variant."""
    return int(config["ProductionVariants"][0].get("InitialInstanceCount") or 1)


def _capture_summary(capture: Json) -> Json:
    enabled = bool(capture.get("EnableCapture"))
    return {
        "EnableCapture": enabled,
        "CaptureStatus": "Started" if enabled else "Stopped",
        "CurrentSamplingPercentage": int(capture["InitialSamplingPercentage"]),
        "DestinationS3Uri": capture["DestinationS3Uri"],
        "KmsKeyId": capture.get("KmsKeyId", ""),
    }
