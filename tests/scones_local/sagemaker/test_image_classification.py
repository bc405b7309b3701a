"""The built-in algorithm image-classification: its images, which of its jobs are refused, and what a job says."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from aws_calls import ROLE, a_bucket, a_variant, capture, finished, fresh, job_request
from scones_local.sagemaker.image_classification import REGISTRIES

IMAGE = "811284229777.dkr.ecr.us-east-1.amazonaws.com/image-classification:1"
PHOTOS = "application/x-image"


def channel(bucket: str, name: str, kind: str = PHOTOS, **source: Any) -> dict[str, Any]:
    """A channel of the algorithm."""
    found = {"S3DataType": "S3Prefix", "S3Uri": f"s3://{bucket}/data/", **source}
    return {"ChannelName": name, "ContentType": kind, "DataSource": {"S3DataSource": found}}


def request(bucket: str, image: str = IMAGE, **changes: Any) -> dict[str, Any]:
    """A job of the algorithm, whose program is the stand-in."""
    names = ("train", "validation", "train_lst", "validation_lst")
    return {
        **job_request(bucket, AlgorithmSpecification={"TrainingImage": image, "TrainingInputMode": "File"}),
        "HyperParameters": {"say": "Epoch[0] Train-accuracy=0.98|Epoch[0] Validation-accuracy=0.9375"},
        "InputDataConfig": [channel(bucket, name) for name in names],
        "ResourceConfig": {"InstanceType": "ml.p3.8xlarge", "InstanceCount": 1, "VolumeSizeInGB": 50},
        **changes,
    }


@pytest.fixture(scope="module")
def bucket(clients: Any) -> str:
    """A bucket with a few objects."""
    return a_bucket(clients.s3)


SUFFIXES = {"cn-north-1": "amazonaws.com.cn", "us-iso-east-1": "c2s.ic.gov", "us-isob-east-1": "sc2s.sgov.gov"}


@pytest.mark.parametrize("region", REGISTRIES)
def test_the_image_of_every_region_is_accepted(clients: Any, region: str) -> None:
    """As `image_uris.retrieve` of the SageMaker SDK names it; CreateModel checks it as CreateTrainingJob does."""
    image = f"{REGISTRIES[region]}.dkr.ecr.{region}.{SUFFIXES.get(region, 'amazonaws.com')}/image-classification"
    for tag in (":1", ":latest", "", f"@sha256:{'0' * 64}"):
        name = fresh("model")
        clients.sagemaker.create_model(ModelName=name, ExecutionRoleArn=ROLE, PrimaryContainer={"Image": image + tag})
        assert clients.sagemaker.describe_model(ModelName=name)["PrimaryContainer"]["Image"] == image + tag


WRONG = {
    "another region's registry": (
        "811284229777.dkr.ecr.eu-west-1.amazonaws.com/image-classification:1",
        "685385470294",
    ),
    "a registry of the user's": ("123456789012.dkr.ecr.us-east-1.amazonaws.com/image-classification:1", "811284229777"),
    "an unknown region": ("811284229777.dkr.ecr.mars-north-1.amazonaws.com/image-classification:1", "mars-north-1"),
    "an unknown tag": ("811284229777.dkr.ecr.us-east-1.amazonaws.com/image-classification:7", "1 and latest"),
    "another algorithm": ("811284229777.dkr.ecr.us-east-1.amazonaws.com/xgboost:1", "algorithm 'image-classification'"),
    "a framework": ("763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-training:2.3", "'image-classification'"),
    "a compiled model's": (
        "785573368785.dkr.ecr.us-east-1.amazonaws.com/image-classification-neo:latest",
        "only in pl",
    ),
    "no registry": ("image-classification:1", "'image-classification'"),
    "object detection": ("811284229777.dkr.ecr.us-east-1.amazonaws.com/object-detection:1", "'object-detection'"),
}


@pytest.mark.parametrize(("image", "words"), WRONG.values(), ids=WRONG)
def test_another_image_is_refused_and_what_is_supported_is_named(
    clients: Any, bucket: str, image: str, words: str
) -> None:
    """By both operations that take an image, when the resource is created."""
    model = {"ModelName": fresh("model"), "ExecutionRoleArn": ROLE, "PrimaryContainer": {"Image": image}}
    for create, asked in (
        (clients.sagemaker.create_training_job, request(bucket, image)),
        (clients.sagemaker.create_model, model),
    ):
        with pytest.raises(ClientError, match="ValidationException") as refused:
            create(**asked)
        assert words in str(refused.value)


def with_channel(name: str, kind: str = PHOTOS, /, mode: str = "", **source: Any) -> Callable[[str], dict[str, Any]]:
    """A job whose channel *name* is another."""

    def changed(bucket: str) -> dict[str, Any]:
        made = request(bucket)
        one = {**channel(bucket, name, kind, **source), **({"InputMode": mode} if mode else {})}
        made["InputDataConfig"] = [one, *(each for each in made["InputDataConfig"] if each["ChannelName"] != name)]
        return made

    return changed


def with_algorithm(**members: Any) -> Callable[[str], dict[str, Any]]:
    """A job with other members in its AlgorithmSpecification."""
    return lambda bucket: request(
        bucket, AlgorithmSpecification={"TrainingImage": IMAGE, "TrainingInputMode": "File", **members}
    )


UNSUPPORTED = {
    "RecordIO": (with_channel("train", "application/x-recordio"), "RecordIO"),
    "RecordIO with a label format": (
        with_channel("train", "application/x-recordio; label-format=class-id"),
        "RecordIO",
    ),
    "RecordIO in capitals": (with_channel("validation", "application/X-RecordIO"), "RecordIO"),
    "a trained model": (with_channel("model", "application/x-sagemaker-model"), "incremental training"),
    "an augmented manifest": (with_channel("train", S3DataType="AugmentedManifestFile"), "AugmentedManifestFile"),
    "a manifest": (with_channel("train", S3DataType="ManifestFile"), "ManifestFile"),
    "a channel in Pipe mode": (with_channel("train", mode="Pipe"), "Pipe mode"),
    "Pipe mode": (with_algorithm(TrainingInputMode="Pipe"), "Pipe mode"),
    "several labels": (lambda bucket: request(bucket, HyperParameters={"multi_label": "1"}), "multi_label"),
    "metric definitions": (
        with_algorithm(MetricDefinitions=[{"Name": "a", "Regex": "(.*)"}]),
        "can't override the metric definitions",
    ),
}


@pytest.mark.parametrize(("make", "words"), UNSUPPORTED.values(), ids=UNSUPPORTED)
def test_what_cannot_run_here_is_refused_by_name_when_the_job_is_created(
    clients: Any, bucket: str, make: Callable[[str], dict[str, Any]], words: str
) -> None:
    """The message names what is supported, except where AWS refuses the request itself."""
    asked = make(bucket)
    with pytest.raises(ClientError, match="ValidationException") as refused:
        clients.sagemaker.create_training_job(**asked)
    assert words in str(refused.value)
    assert "application/x-image" in str(refused.value) or "override" in words
    with pytest.raises(ClientError, match="not found"):
        clients.sagemaker.describe_training_job(TrainingJobName=asked["TrainingJobName"])


def test_an_algorithm_named_by_its_arn_is_refused(clients: Any, bucket: str) -> None:
    """AlgorithmName is for algorithms of the Marketplace."""
    asked = request(bucket, AlgorithmSpecification={"AlgorithmName": "mine", "TrainingInputMode": "File"})
    with pytest.raises(ClientError, match="TrainingImage"):
        clients.sagemaker.create_training_job(**asked)


def test_the_accuracies_are_the_jobs_metrics(clients: Any, bucket: str) -> None:
    """In DescribeTrainingJob, and in CloudWatch, where the SDK reads them; their definitions are the algorithm's."""
    asked = request(bucket)
    clients.sagemaker.create_training_job(**asked)
    job = finished(clients.sagemaker, asked["TrainingJobName"])
    assert job["TrainingJobStatus"] == "Completed"
    expected = {"train:accuracy": 0.98, "validation:accuracy": 0.9375}
    assert {m["MetricName"]: m["Value"] for m in job["FinalMetricDataList"]} == expected
    assert [m["Name"] for m in job["AlgorithmSpecification"]["MetricDefinitions"]] == list(expected)
    found: list[Any] = []
    while not found:
        time.sleep(0.05)
        found = clients.cloudwatch.get_metric_statistics(
            Namespace="/aws/sagemaker/TrainingJobs",
            MetricName="validation:accuracy",
            Dimensions=[{"Name": "TrainingJobName", "Value": asked["TrainingJobName"]}],
            StartTime=job["TrainingStartTime"],
            EndTime=job["TrainingEndTime"].timestamp() + 60,
            Period=60,
            Statistics=["Average"],
        )["Datapoints"]
    assert [point["Average"] for point in found] == [0.9375]


@pytest.mark.parametrize(("code", "side"), [("2", "ClientError"), ("1", "AlgorithmError")])
def test_a_failure_says_whose_it_is(clients: Any, bucket: str, code: str, side: str) -> None:
    """Exit code 2 is the client's, as with AWS's own algorithms."""
    asked = request(bucket, HyperParameters={"fail": "num_classes is required", "code": code})
    clients.sagemaker.create_training_job(**asked)
    job = finished(clients.sagemaker, asked["TrainingJobName"])
    assert job["FailureReason"] == f"{side}: num_classes is required, exit code: {code}"


def test_spot_and_checkpoints_are_as_with_other_jobs(clients: Any, bucket: str) -> None:
    """The job's checkpoints are in S3 when it has ended."""
    asked = request(
        bucket,
        HyperParameters={"steps": "3"},
        EnableManagedSpotTraining=True,
        StoppingCondition={"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 60},
        CheckpointConfig={"S3Uri": f"s3://{bucket}/kept"},
    )
    clients.sagemaker.create_training_job(**asked)
    assert finished(clients.sagemaker, asked["TrainingJobName"])["TrainingJobStatus"] == "Completed"
    assert clients.s3.get_object(Bucket=bucket, Key="kept/deep/steps")["Body"].read() == b"3"


def test_its_model_serves_and_is_captured(clients: Any, bucket: str) -> None:
    """CreateModel with the same image, an endpoint, InvokeEndpoint, and a line of the capture for each request."""
    asked = request(bucket, HyperParameters={"answer": "0.25"})
    clients.sagemaker.create_training_job(**asked)
    archive = finished(clients.sagemaker, asked["TrainingJobName"])["ModelArtifacts"]["S3ModelArtifacts"]
    name = fresh("course")
    container = {"Image": IMAGE, "ModelDataUrl": archive}
    clients.sagemaker.create_model(ModelName=name, ExecutionRoleArn=ROLE, PrimaryContainer=container)
    clients.sagemaker.create_endpoint_config(
        EndpointConfigName=name, ProductionVariants=[a_variant(name)], DataCaptureConfig=capture(bucket)
    )
    clients.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    clients.sagemaker.get_waiter("endpoint_in_service").wait(EndpointName=name, WaiterConfig={"Delay": 1})
    reply = clients.sagemaker_runtime.invoke_endpoint(EndpointName=name, Body=b"photo", ContentType="image/png")
    answer = reply["Body"].read()
    assert json.loads(answer)[0] == 0.25
    clients.sagemaker.delete_endpoint(EndpointName=name)
    (key,) = (o["Key"] for o in clients.s3.list_objects_v2(Bucket=bucket, Prefix=f"capture/{name}/")["Contents"])
    line = json.loads(clients.s3.get_object(Bucket=bucket, Key=key)["Body"].read())
    assert line["captureData"]["endpointOutput"]["data"] == answer.decode()
    assert line["captureData"]["endpointInput"]["observedContentType"] == "image/png"
