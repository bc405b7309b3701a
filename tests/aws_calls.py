"""Requests to AWS that several tests make."""

import json
import time
import uuid
from typing import Any

import boto3

from access_keys import BOTO_KEYS
from scones_local.cloud import Cloud

ROLE = "arn:aws:iam::000000000000:role/test"
IMAGE = "000000000000.dkr.ecr.us-east-1.amazonaws.com/scones-image:1"


def fresh(kind: str) -> str:
    """A name that nothing has yet."""
    return f"{kind}-{uuid.uuid4().hex[:8]}"


def boto(cloud: Cloud, service: str) -> Any:
    """A plain client of the cloud."""
    return boto3.client(
        service,
        endpoint_url=cloud.endpoint_url,
        region_name=cloud.region,
        **BOTO_KEYS,
    )


def a_bucket(s3: Any) -> str:
    """A fresh bucket that holds three training photos."""
    name = fresh("bucket")
    s3.create_bucket(Bucket=name)
    for key in ("data/train/bicycle/1.png", "data/train/bicycle/2.png", "data/train/motorcycle/1.png"):
        s3.put_object(Bucket=name, Key=key, Body=key.encode())
    return name


def job_request(bucket: str, **changes: Any) -> dict[str, Any]:
    """A CreateTrainingJob request; *changes* replace members."""
    source = {"S3DataType": "S3Prefix", "S3Uri": f"s3://{bucket}/data/", "S3DataDistributionType": "FullyReplicated"}
    return {
        "TrainingJobName": fresh("job"),
        "AlgorithmSpecification": {
            "TrainingImage": IMAGE,
            "TrainingInputMode": "File",
            "MetricDefinitions": [{"Name": "train:loss", "Regex": "train_loss=([0-9.]+)"}],
        },
        "RoleArn": ROLE,
        "HyperParameters": {"answer": "0.75"},
        "InputDataConfig": [{"ChannelName": "training", "DataSource": {"S3DataSource": source}}],
        "OutputDataConfig": {"S3OutputPath": f"s3://{bucket}/models"},
        "ResourceConfig": {"InstanceType": "ml.m5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 10},
        "StoppingCondition": {"MaxRuntimeInSeconds": 60},
        **changes,
    }


def finished(client: Any, name: str) -> dict[str, Any]:
    """The description of a training job, once it has ended."""
    while (found := client.describe_training_job(TrainingJobName=name))["TrainingJobStatus"] in (
        "InProgress",
        "Stopping",
    ):
        time.sleep(0.05)
    return dict(found)


def trained(client: Any, bucket: str, **hyperparameters: str) -> str:
    """Train the stand-in; returns the address of its archive."""
    request = job_request(bucket, **({"HyperParameters": hyperparameters} if hyperparameters else {}))
    client.create_training_job(**request)
    return str(finished(client, request["TrainingJobName"])["ModelArtifacts"]["S3ModelArtifacts"])


def a_config(client: Any, bucket: str, archive: str, instances: int = 1, **environment: str) -> str:
    """Create a model and an endpoint configuration that captures everything; returns the latter's name."""
    name = fresh("config")
    container = {"Image": IMAGE, "ModelDataUrl": archive, "Environment": environment}
    client.create_model(ModelName=name, ExecutionRoleArn=ROLE, PrimaryContainer=container)
    client.create_endpoint_config(
        EndpointConfigName=name,
        ProductionVariants=[{**a_variant(name), "InitialInstanceCount": instances}],
        DataCaptureConfig=capture(bucket),
    )
    return name


def a_variant(model: str) -> dict[str, Any]:
    """The one production variant."""
    return {
        "VariantName": "AllTraffic",
        "ModelName": model,
        "InstanceType": "ml.m5.large",
        "InitialInstanceCount": 1,
        "InitialVariantWeight": 1.0,
    }


def capture(bucket: str) -> dict[str, Any]:
    """Capture of all traffic, both ways."""
    return {
        "EnableCapture": True,
        "InitialSamplingPercentage": 100,
        "DestinationS3Uri": f"s3://{bucket}/capture",
        "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
        "CaptureContentTypeHeader": {"JsonContentTypes": ["application/json"]},
    }


def an_alarm(client: Any, endpoint: str) -> str:
    """An alarm that fires at the first server error within ten seconds; returns its name."""
    name = fresh("errors")
    dimensions = {"EndpointName": endpoint, "VariantName": "AllTraffic"}
    client.put_metric_alarm(
        AlarmName=name,
        Namespace="AWS/SageMaker",
        MetricName="Invocation5XXErrors",
        Dimensions=[{"Name": key, "Value": value} for key, value in dimensions.items()],
        Statistic="Sum",
        Period=10,
        EvaluationPeriods=1,
        ComparisonOperator="GreaterThanOrEqualToThreshold",
        Threshold=1,
        TreatMissingData="notBreaching",
    )
    return name


def shifting(kind: str, percent: int, wait_seconds: int, alarm: str) -> dict[str, Any]:
    """A DeploymentConfig that shifts traffic by *percent*, and back when *alarm* fires."""
    size = {"CANARY": "CanarySize", "LINEAR": "LinearStepSize"}[kind]
    routing = {
        "Type": kind,
        "WaitIntervalInSeconds": wait_seconds,
        size: {"Type": "CAPACITY_PERCENT", "Value": percent},
    }
    return {
        "BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": routing, "TerminationWaitInSeconds": 0},
        "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": alarm}]},
    }


def settled(client: Any, name: str) -> dict[str, Any]:
    """The description of an endpoint, once it is neither creating nor updating."""
    while (found := client.describe_endpoint(EndpointName=name))["EndpointStatus"] in ("Creating", "Updating"):
        time.sleep(0.02)
    return dict(found)


class Endpoint:
    """An endpoint in service, its bucket and its clients."""

    def __init__(self, clients: Any) -> None:
        self.clients = clients
        self.sagemaker, self.s3, self.runtime = clients.sagemaker, clients.s3, clients.sagemaker_runtime
        self.bucket = a_bucket(self.s3)
        self.archive = trained(self.sagemaker, self.bucket)
        self.config = a_config(self.sagemaker, self.bucket, self.archive)
        self.name = fresh("endpoint")
        self.arn = self.sagemaker.create_endpoint(EndpointName=self.name, EndpointConfigName=self.config)["EndpointArn"]
        assert settled(self.sagemaker, self.name)["EndpointStatus"] == "InService"

    def ask(self, body: bytes = b"photo", **members: Any) -> Any:
        """What the endpoint answers."""
        reply = self.runtime.invoke_endpoint(
            EndpointName=self.name, Body=body, **{"ContentType": "image/png", **members}
        )
        return json.loads(reply["Body"].read())


def machine(clients: Any, definition: Any, kind: str = "EXPRESS") -> str:
    """Create a state machine; returns its ARN."""
    reply = clients.stepfunctions.create_state_machine(
        name=f"m-{uuid.uuid4().hex[:8]}", definition=json.dumps(definition), roleArn=ROLE, type=kind
    )
    return str(reply["stateMachineArn"])


def task(arn: str, **fields: Any) -> dict[str, Any]:
    """A state that calls a function and keeps its payload."""
    parameters = {"FunctionName": arn, "Payload.$": "$"}
    return {
        "Type": "Task",
        "Resource": "arn:aws:states:::lambda:invoke",
        "Parameters": parameters,
        "OutputPath": "$.Payload",
        **fields,
    }
