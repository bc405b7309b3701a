"""Models, endpoint configurations and endpoints: the control plane of hosting."""

import shutil
import threading
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path

from scones_local.metrics import alarm_state
from scones_local.sagemaker.capture import Capture
from scones_local.sagemaker.channels import ChannelError, unpack_model
from scones_local.sagemaker.fleet import Deployment, Fleet
from scones_local.sagemaker.programs import Runner
from scones_local.sagemaker.records import Records, acceptable_image, invalid, now
from scones_local.sagemaker.rollout import Rollout, rollout
from scones_local.sagemaker.server import STARTUP_SECONDS, Server, ServerFailed
from scones_local.sagemaker.serverless import check_serverless
from scones_local.wire import Json

MOST_INSTANCES = 8
POLL_SECONDS = 0.05
MODEL_MEMBERS = ("PrimaryContainer", "Containers", "ExecutionRoleArn", "VpcConfig", "EnableNetworkIsolation")
CONFIG_MEMBERS = ("ProductionVariants", "DataCaptureConfig", "KmsKeyId", "AsyncInferenceConfig", "ExecutionRoleArn")
SUMMARIES = {
    "Model": ("ModelName", "ModelArn", "CreationTime"),
    "EndpointConfig": ("EndpointConfigName", "EndpointConfigArn", "CreationTime"),
    "Endpoint": ("EndpointName", "EndpointArn", "CreationTime", "LastModifiedTime", "EndpointStatus"),
}


@dataclass(slots=True)
class Hosting:
    """Creates, describes, updates and deletes what serves."""

    records: Records
    runner: Runner
    folder: Path
    capture: Capture
    deployments: dict[str, Deployment] = field(default_factory=dict)

    def create_model(self, query: Json) -> Json:
        """CreateModel: one container, whose archive must exist."""
        container = query.get("PrimaryContainer") or (query.get("Containers") or [{}])[0]
        if len(query.get("Containers") or []) > 1:
            raise invalid("Inference pipelines of several containers are not supported by the local cloud")
        acceptable_image(container.get("Image", ""), self.runner.image_prefix)
        address = container.get("ModelDataUrl")
        if address and self.runner.store.get(address) is None:
            raise invalid(f"Could not find model data at {address}.")
        return self._add(self.records.models, "Model", query, MODEL_MEMBERS)

    def create_config(self, query: Json) -> Json:
        """CreateEndpointConfig: one variant, of a model that exists."""
        variants = query["ProductionVariants"]
        if len(variants) != 1 or query.get("ShadowProductionVariants"):
            raise invalid("The local cloud serves exactly one production variant of an endpoint configuration")
        self.records.models.find(variants[0]["ModelName"])
        if not 1 <= instances(query) <= MOST_INSTANCES:
            raise invalid(f"The local cloud runs 1 to {MOST_INSTANCES} instances of a variant")
        if "ServerlessConfig" in variants[0]:
            check_serverless(variants[0], captures=bool(query.get("DataCaptureConfig")))
        return self._add(self.records.configs, "EndpointConfig", query, CONFIG_MEMBERS)

    def create_endpoint(self, query: Json) -> Json:
        """CreateEndpoint: start a server in the background."""
        config = self.records.configs.find(query["EndpointConfigName"])
        with self.records.lock:
            record = self.records.endpoints.add(
                query["EndpointName"],
                {
                    "EndpointConfigName": query["EndpointConfigName"],
                    "EndpointStatus": "Creating",
                    "CreationTime": now(),
                },
            )
            record["LastModifiedTime"] = record["CreationTime"]
            self.records.remember_tags(record["EndpointArn"], query.get("Tags"))
        self._deploy(record, config, Rollout())
        return {"EndpointArn": record["EndpointArn"]}

    def update_endpoint(self, query: Json) -> Json:
        """UpdateEndpoint: blue/green; until the new fleet is healthy the old one serves all."""
        record = self.records.endpoints.find(query["EndpointName"])
        config = self.records.configs.find(query["EndpointConfigName"])
        plan = rollout(query.get("DeploymentConfig"), instances(config))
        deployment = self.deployments.get(query["EndpointName"])
        if "ServerlessConfig" in config["ProductionVariants"][0] and deployment:
            if query.get("DeploymentConfig"):
                raise invalid("DeploymentConfig is not supported with a serverless variant.")
            if "ServerlessConfig" not in deployment.blue.variant:
                raise invalid("An endpoint on instances cannot become serverless: delete it, and create it anew.")
        self._refuse_type_of_scaled(query["EndpointName"], config, deployment)
        if query.get("RetainAllVariantProperties") and deployment:
            config = _as_many(config, len(deployment.blue.servers))
        if unknown := [name for name in plan.alarms if alarm_state(name) is None]:
            raise invalid(f"Could not find the CloudWatch alarm(s) {', '.join(unknown)}.")
        with self.records.lock:
            if record["EndpointStatus"] != "InService":
                raise invalid(f'Cannot update in-progress endpoint "{record["EndpointArn"]}".')
            record["EndpointStatus"] = "Updating"
            record |= {"LastDeploymentConfig": query["DeploymentConfig"]} if "DeploymentConfig" in query else {}
        self._deploy(record, config, plan)
        return {"EndpointArn": record["EndpointArn"]}

    def _refuse_type_of_scaled(self, name: str, config: Json, deployment: Deployment | None) -> None:
        variant = config["ProductionVariants"][0]
        scaled = f"endpoint/{name}/variant/{variant['VariantName']}" in self.records.targets
        if scaled and deployment and variant.get("InstanceType") != deployment.blue.variant.get("InstanceType"):
            raise invalid(f"Variant {variant['VariantName']} is a scalable target: deregister it to change its type.")

    def describe_endpoint(self, query: Json) -> Json:
        """DescribeEndpoint."""
        record = self.records.endpoints.find(query["EndpointName"])
        deployment = self.deployments.get(query["EndpointName"])
        if deployment is None:
            return dict(record)
        fleet = deployment.blue
        described = {**record, "ProductionVariants": [self._summary(fleet.variant, record["CreationTime"])]}
        if fleet.capture:
            described["DataCaptureConfig"] = _capture_summary(fleet.capture)
        return described

    def delete_endpoint(self, query: Json) -> Json:
        """DeleteEndpoint: gone from the list at once, the server after what it has begun."""
        name = query["EndpointName"]
        with self.records.lock:
            record = self.records.endpoints.find(name)
            del self.records.endpoints.rows[name]
            deployment = self.deployments.pop(name, None)
            self.records.tags.pop(record["EndpointArn"], None)
        self.capture.flush()
        if deployment:
            for fleet in deployment.fleets():
                threading.Thread(target=fleet.close, daemon=True).start()
        return {}

    def delete(self, kind: str, query: Json) -> Json:
        """DeleteModel and DeleteEndpointConfig."""
        table = self.records.models if kind == "Model" else self.records.configs
        record = table.find(query[f"{kind}Name"])
        del table.rows[query[f"{kind}Name"]]
        self.records.tags.pop(record[f"{kind}Arn"], None)
        return {}

    def summaries(self, kind: str, query: Json) -> Json:
        """ListModels, ListEndpointConfigs and ListEndpoints."""
        table = {"Model": self.records.models, "EndpointConfig": self.records.configs}.get(kind, self.records.endpoints)
        page = table.listing(query, SUMMARIES[kind])
        return {f"{kind}s": page.pop("items"), **page}

    def _add(self, table: object, kind: str, query: Json, members: tuple[str, ...]) -> Json:
        rows = self.records.models if table is self.records.models else self.records.configs
        with self.records.lock:
            kept = {k: query[k] for k in members if k in query}
            record = rows.add(query[f"{kind}Name"], {**kept, "CreationTime": now()})
            self.records.remember_tags(record[f"{kind}Arn"], query.get("Tags"))
        return {f"{kind}Arn": record[f"{kind}Arn"]}

    def _container(self, variant: Json) -> Json:
        model = self.records.models.rows.get(variant.get("ModelName", ""), {})
        container: Json = model.get("PrimaryContainer") or (model.get("Containers") or [{}])[0]
        return container

    def _summary(self, variant: Json, moment: float) -> Json:
        image = self._container(variant).get("Image", "")
        size = int(variant.get("InitialInstanceCount", 1))
        now_and_then = ("Current", "Desired")
        return {
            "VariantName": variant["VariantName"],
            "DeployedImages": [{"SpecifiedImage": image, "ResolvedImage": image, "ResolutionTime": moment}],
            **{f"{when}Weight": float(variant.get("InitialVariantWeight", 1)) for when in now_and_then},
            **(
                {f"{when}ServerlessConfig": variant["ServerlessConfig"] for when in now_and_then}
                if "ServerlessConfig" in variant
                else {f"{when}InstanceCount": size for when in now_and_then}
            ),
        }

    def _deploy(self, record: Json, config: Json, plan: Rollout) -> None:
        summary = self._summary(config["ProductionVariants"][0], now())
        pending = {"EndpointConfigName": config["EndpointConfigName"], "StartTime": now()}
        record["PendingDeploymentSummary"] = {**pending, "ProductionVariants": [{**summary, **_status("Creating")}]}
        threading.Thread(target=self._bring_up, args=(record, config, plan), name="deploy", daemon=True).start()

    def _bring_up(self, record: Json, config: Json, plan: Rollout) -> None:
        """Start the new fleet, move the traffic to it, end the old one; a failed update leaves the old one in place."""
        reason = "the local cloud failed; its log says how"
        try:
            fresh = self._fleet(config)
            reason = self._put_in_service(record, fresh, plan)
        except (ServerFailed, ChannelError, OSError) as error:
            reason = str(error)
        finally:
            self._settle(record, config, reason)

    def _put_in_service(self, record: Json, fresh: Fleet, plan: Rollout) -> str:
        """Returns why the old fleet serves again; nothing when the new one serves."""
        name = record["EndpointName"]
        with self.records.lock:
            deployment = self.deployments.get(name)
            if deployment is None and self._wanted(record):
                self.deployments[name] = Deployment(fresh)
                return ""
        reason = self._shift(record, deployment, fresh, plan) if deployment else "the endpoint was deleted meanwhile"
        if deployment and not reason:
            deployment.finish().close()
        else:
            fresh.close()
        return reason

    def _shift(self, record: Json, deployment: Deployment, fresh: Fleet, plan: Rollout) -> str:
        """Shift the traffic step by step; returns why it was shifted back, if it was."""
        deadline = time.monotonic() + plan.limit_seconds
        # Alarms are looked at once before the first step: an endpoint in trouble is not updated.
        waits = [0, *(plan.wait_seconds for _ in plan.shares[1:]), plan.wait_seconds + plan.termination_seconds]
        for share, seconds in zip((0.0, *plan.shares), waits, strict=True):
            deployment.shift(fresh, share)
            record["PendingDeploymentSummary"]["ProductionVariants"][0] |= _status("Baking" if share else "Creating")
            until = min(time.monotonic() + seconds, deadline)
            while not (reason := self._trouble(record, plan, deadline)) and time.monotonic() < until:
                time.sleep(POLL_SECONDS)
            if reason:
                deployment.shift(None, 0.0)
                return reason
        return ""

    def _trouble(self, record: Json, plan: Rollout, deadline: float) -> str:
        if fired := [name for name in plan.alarms if alarm_state(name) == "ALARM"]:
            return f"Rolled back: the CloudWatch alarm(s) {', '.join(fired)} went into ALARM during the deployment."
        if not self._wanted(record):
            return "the endpoint was deleted meanwhile"
        return "" if time.monotonic() <= deadline else "Rolled back: the deployment took longer than its time limit."

    def _wanted(self, record: Json) -> bool:
        return self.records.endpoints.rows.get(record["EndpointName"]) is record

    def _settle(self, record: Json, config: Json, reason: str) -> None:
        """Note how a deployment ended: with the new configuration, or with *reason* and the one before, if any."""
        with self.records.lock:
            record.pop("PendingDeploymentSummary", None)
            record.pop("FailureReason", None)
            record["LastModifiedTime"] = now()
            if reason:
                record["FailureReason"] = reason
            else:
                record["EndpointConfigName"] = config["EndpointConfigName"]
            record["EndpointStatus"] = "InService" if record["EndpointName"] in self.deployments else "Failed"

    def _fleet(self, config: Json) -> Fleet:
        """As many healthy servers of the configuration's model as it wants, each in a folder that goes with it."""
        fleet = Fleet(
            config["EndpointConfigName"],
            config["ProductionVariants"][0],
            config.get("DataCaptureConfig") or {},
            [],
        )
        try:
            for _ in range(instances(config)):
                fleet.servers.append(self._server(fleet))
            for server in fleet.servers:
                server.await_healthy()
        except BaseException:
            fleet.close()
            raise
        return fleet

    def _server(self, fleet: Fleet) -> Server:
        """A server that has just been started, in a folder of its own."""
        container = self._container(fleet.variant)
        folder = self.folder / f"{fleet.config_name}-{uuid.uuid4().hex[:8]}"
        (folder / "model").mkdir(parents=True)
        try:
            if address := container.get("ModelDataUrl"):
                unpack_model(self.runner.store.get(address), folder / "model")
            variables = {**(container.get("Environment") or {}), "SAGEMAKER_BASE_DIR": str(folder)}
            patience = float(fleet.variant.get("ContainerStartupHealthCheckTimeoutInSeconds") or STARTUP_SECONDS)
            return Server(self.runner, folder, variables, patience)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise


def _as_many(config: Json, count: int) -> Json:
    """The configuration with that many instances; a serverless one as it is."""
    variant = config["ProductionVariants"][0]
    if "InitialInstanceCount" not in variant:
        return config
    return {**config, "ProductionVariants": [{**variant, "InitialInstanceCount": count}]}


def _status(word: str) -> Json:
    return {"VariantStatus": [{"Status": word, "StartTime": now()}]}


def instances(config: Json) -> int:
    """How many instances the configuration's one variant asks for."""
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
