"""Models, endpoint configurations and endpoints: the control plane of hosting."""

import shutil
import threading
import uuid
from dataclasses import dataclass, field
from pathlib import Path

from scones.local.sagemaker.capture import Capture
from scones.local.sagemaker.channels import ChannelError, unpack_model
from scones.local.sagemaker.programs import Runner
from scones.local.sagemaker.records import Records, acceptable_image, invalid, now
from scones.local.sagemaker.server import STARTUP_SECONDS, Server, ServerFailed
from scones.local.wire import Json

MODEL_MEMBERS = ("PrimaryContainer", "Containers", "ExecutionRoleArn", "VpcConfig", "EnableNetworkIsolation")
CONFIG_MEMBERS = ("ProductionVariants", "DataCaptureConfig", "KmsKeyId", "AsyncInferenceConfig", "ExecutionRoleArn")
SUMMARIES = {
    "Model": ("ModelName", "ModelArn", "CreationTime"),
    "EndpointConfig": ("EndpointConfigName", "EndpointConfigArn", "CreationTime"),
    "Endpoint": ("EndpointName", "EndpointArn", "CreationTime", "LastModifiedTime", "EndpointStatus"),
}


@dataclass(slots=True)
class Deployment:
    """The server behind an endpoint, and what the configuration says about its traffic."""

    config_name: str
    variant: Json
    capture: Json
    server: Server


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
        if "ServerlessConfig" in variants[0] and query.get("DataCaptureConfig"):
            raise invalid("DataCaptureConfig is not supported with a serverless variant.")
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
        self._deploy(record, config)
        return {"EndpointArn": record["EndpointArn"]}

    def update_endpoint(self, query: Json) -> Json:
        """UpdateEndpoint: the new server takes over once it is healthy; until then the old one serves."""
        record = self.records.endpoints.find(query["EndpointName"])
        config = self.records.configs.find(query["EndpointConfigName"])
        with self.records.lock:
            if record["EndpointStatus"] != "InService":
                raise invalid(f'Cannot update in-progress endpoint "{record["EndpointArn"]}".')
            record["EndpointStatus"] = "Updating"
        self._deploy(record, config)
        return {"EndpointArn": record["EndpointArn"]}

    def describe_endpoint(self, query: Json) -> Json:
        """DescribeEndpoint."""
        record = self.records.endpoints.find(query["EndpointName"])
        deployment = self.deployments.get(query["EndpointName"])
        if deployment is None:
            return dict(record)
        variant = deployment.variant
        image = self._container(variant).get("Image", "")
        summary = {
            "VariantName": variant["VariantName"],
            "DeployedImages": [
                {"SpecifiedImage": image, "ResolvedImage": image, "ResolutionTime": record["CreationTime"]}
            ],
            **{k: float(variant.get("InitialVariantWeight", 1)) for k in ("CurrentWeight", "DesiredWeight")},
            **{
                k: int(variant.get("InitialInstanceCount", 1)) for k in ("CurrentInstanceCount", "DesiredInstanceCount")
            },
        }
        described = {**record, "ProductionVariants": [summary]}
        return (
            {**described, "DataCaptureConfig": _capture_summary(deployment.capture)}
            if deployment.capture
            else described
        )

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
            threading.Thread(target=deployment.server.close, daemon=True).start()
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

    def _deploy(self, record: Json, config: Json) -> None:
        threading.Thread(target=self._bring_up, args=(record, config), name="deploy", daemon=True).start()

    def _bring_up(self, record: Json, config: Json) -> None:
        """Start the new server, switch to it, end the old one; a failed update leaves the old one in place."""
        fresh = None
        reason = "the local cloud failed; its log says how"
        try:
            fresh = self._server(config)
        except (ServerFailed, ChannelError, OSError) as error:
            reason = str(error)
        finally:
            if fresh is None:
                record |= {"FailureReason": reason, "LastModifiedTime": now()}
                record["EndpointStatus"] = "InService" if record["EndpointStatus"] == "Updating" else "Failed"
        if fresh is not None:
            self._switch(record, config, fresh)

    def _switch(self, record: Json, config: Json, fresh: Server) -> None:
        name = record["EndpointName"]
        variant = config["ProductionVariants"][0]
        deployment = Deployment(config["EndpointConfigName"], variant, config.get("DataCaptureConfig") or {}, fresh)
        with self.records.lock:
            wanted = self.records.endpoints.rows.get(name) is record
            old = self.deployments.get(name) if wanted else deployment
            if wanted:
                self.deployments[name] = deployment
                record.pop("FailureReason", None)
                record |= {"EndpointConfigName": config["EndpointConfigName"], "LastModifiedTime": now()}
                record["EndpointStatus"] = "InService"
        if old is not None:
            old.server.close()

    def _server(self, config: Json) -> Server:
        """A healthy server of the configuration's model, in a folder that goes with it."""
        variant = config["ProductionVariants"][0]
        container = self._container(variant)
        folder = self.folder / f"{config['EndpointConfigName']}-{uuid.uuid4().hex[:8]}"
        (folder / "model").mkdir(parents=True)
        try:
            if address := container.get("ModelDataUrl"):
                unpack_model(self.runner.store.get(address), folder / "model")
            variables = {**(container.get("Environment") or {}), "SAGEMAKER_BASE_DIR": str(folder)}
            patience = float(variant.get("ContainerStartupHealthCheckTimeoutInSeconds") or STARTUP_SECONDS)
            server = Server(self.runner, folder, variables, patience)
            server.await_healthy()
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return server


def _capture_summary(capture: Json) -> Json:
    enabled = bool(capture.get("EnableCapture"))
    return {
        "EnableCapture": enabled,
        "CaptureStatus": "Started" if enabled else "Stopped",
        "CurrentSamplingPercentage": int(capture["InitialSamplingPercentage"]),
        "DestinationS3Uri": capture["DestinationS3Uri"],
        "KmsKeyId": capture.get("KmsKeyId", ""),
    }
