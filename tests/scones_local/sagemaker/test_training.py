"""Training jobs: the container contract, the life of a job, and what is said when it goes wrong."""

import io
import json
import tarfile
import time
from typing import Any

import pytest
from botocore.exceptions import ClientError

from aws_calls import IMAGE, a_bucket, finished, job_request


def test_a_job_trains_and_leaves_an_archive(clients: Any) -> None:
    """The channel's files, the metrics, every status on the way and the archive are as SageMaker gives them."""
    bucket = a_bucket(clients.s3)
    request = job_request(bucket)
    clients.sagemaker.create_training_job(**request)
    job = finished(clients.sagemaker, request["TrainingJobName"])
    assert job["TrainingJobStatus"] == "Completed"
    statuses = [t["Status"] for t in job["SecondaryStatusTransitions"]]
    assert statuses == ["Starting", "Downloading", "Training", "Uploading", "Completed"]
    assert [(m["MetricName"], m["Value"]) for m in job["FinalMetricDataList"]] == [("train:loss", 0.25)]
    assert job["OutputDataConfig"] == {"KmsKeyId": "", **request["OutputDataConfig"]}
    uri = job["ModelArtifacts"]["S3ModelArtifacts"]
    assert uri == f"s3://{bucket}/models/{request['TrainingJobName']}/output/model.tar.gz"
    packed = clients.s3.get_object(Bucket=bucket, Key=uri.split("/", 3)[3])["Body"].read()
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        member = archive.extractfile("model.json")
        assert member
        model = json.loads(member.read())
    assert model["answer"] == "0.75"
    assert model["files"] == [
        f"training/train/{name}" for name in ("bicycle/1.png", "bicycle/2.png", "motorcycle/1.png")
    ]


def test_the_log_can_be_followed(clients: Any) -> None:
    """The program's lines are in CloudWatch Logs, in a stream that begins with the job's name."""
    request = job_request(a_bucket(clients.s3))
    clients.sagemaker.create_training_job(**request)
    finished(clients.sagemaker, request["TrainingJobName"])
    group = "/aws/sagemaker/TrainingJobs"
    streams = clients.logs.describe_log_streams(logGroupName=group, logStreamNamePrefix=request["TrainingJobName"])
    events = clients.logs.get_log_events(logGroupName=group, logStreamName=streams["logStreams"][0]["logStreamName"])
    assert "epoch=2/2 train_loss=0.25" in [event["message"] for event in events["events"]]


def test_a_failure_is_told_in_the_programs_words(clients: Any) -> None:
    """FailureReason begins with what the program wrote to output/failure, and is cut at 1,024 characters."""
    request = job_request(a_bucket(clients.s3), HyperParameters={"fail": "the photos are all black " * 100})
    clients.sagemaker.create_training_job(**request)
    job = finished(clients.sagemaker, request["TrainingJobName"])
    assert job["TrainingJobStatus"] == job["SecondaryStatus"] == "Failed"
    assert job["FailureReason"].startswith("AlgorithmError: the photos are all black")
    assert len(job["FailureReason"]) == 1024
    bucket, _, key = job["ModelArtifacts"]["S3ModelArtifacts"].removeprefix("s3://").partition("/")
    assert "Contents" not in clients.s3.list_objects_v2(Bucket=bucket, Prefix=key)


def test_an_empty_channel_fails_the_job(clients: Any) -> None:
    """No object under the prefix is a client's error that names the address."""
    bucket = a_bucket(clients.s3)
    request = job_request(bucket)
    request["InputDataConfig"][0]["DataSource"]["S3DataSource"]["S3Uri"] = f"s3://{bucket}/nothing/"
    clients.sagemaker.create_training_job(**request)
    job = finished(clients.sagemaker, request["TrainingJobName"])
    assert job["TrainingJobStatus"] == "Failed"
    assert f"s3://{bucket}/nothing/" in job["FailureReason"]


def test_a_job_can_be_stopped(clients: Any) -> None:
    """StopTrainingJob ends the program with TERM; a second one is refused."""
    request = job_request(a_bucket(clients.s3), HyperParameters={"sleep": "60"})
    clients.sagemaker.create_training_job(**request)
    name = request["TrainingJobName"]
    while clients.sagemaker.describe_training_job(TrainingJobName=name)["SecondaryStatus"] != "Training":
        time.sleep(0.02)
    time.sleep(0.3)
    clients.sagemaker.stop_training_job(TrainingJobName=name)
    job = finished(clients.sagemaker, name)
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Stopped", "Stopped")
    with pytest.raises(ClientError, match="in status Stopped"):
        clients.sagemaker.stop_training_job(TrainingJobName=name)


@pytest.mark.slow
def test_checkpoints_outlive_a_stop(clients: Any) -> None:
    """A stopped job leaves them at its checkpoint address; a job with the same address finds them."""
    bucket = a_bucket(clients.s3)
    for already, sleep, limit in ((0, "60", 5), (3, "0.01", 60)):
        request = job_request(
            bucket,
            HyperParameters={"steps": "3", "sleep": sleep},
            CheckpointConfig={"S3Uri": f"s3://{bucket}/kept/"},
            StoppingCondition={"MaxRuntimeInSeconds": limit},
        )
        clients.sagemaker.create_training_job(**request)
        job = finished(clients.sagemaker, request["TrainingJobName"])
        assert job["TrainingJobStatus"] == ("Completed" if already else "Stopped")
        steps = clients.s3.get_object(Bucket=bucket, Key="kept/deep/steps")["Body"].read()
        assert int(steps) == already + 3


def test_checkpoints_elsewhere_are_refused(clients: Any) -> None:
    """A program that keeps them in another folder would lose them silently."""
    kept = {"S3Uri": "s3://any/kept", "LocalPath": "/tmp/kept"}  # noqa: S108 - never written to
    request = job_request(a_bucket(clients.s3), CheckpointConfig=kept)
    clients.sagemaker.create_training_job(**request)
    job = finished(clients.sagemaker, request["TrainingJobName"])
    assert (job["TrainingJobStatus"], "/opt/ml/checkpoints" in job["FailureReason"]) == ("Failed", True)


def test_a_job_ends_at_its_longest_runtime(clients: Any) -> None:
    """MaxRuntimeInSeconds stops the job and says so."""
    limit = {"MaxRuntimeInSeconds": 1}
    request = job_request(a_bucket(clients.s3), HyperParameters={"sleep": "60"}, StoppingCondition=limit)
    clients.sagemaker.create_training_job(**request)
    job = finished(clients.sagemaker, request["TrainingJobName"])
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Stopped", "MaxRuntimeExceeded")


@pytest.mark.parametrize(
    "image", ["public.ecr.aws/docker/library/python:3.12", "xgboost", "localhost:5000/other@sha256:0"]
)
def test_an_image_of_another_account_is_refused(clients: Any, image: str) -> None:
    """Only an image that stands for a program of this package can be run."""
    request = job_request("nowhere")
    request["AlgorithmSpecification"]["TrainingImage"] = image
    with pytest.raises(ClientError, match=r"ValidationException.*begins with 'scones'"):
        clients.sagemaker.create_training_job(**request)


def test_a_name_is_used_once(clients: Any) -> None:
    """A second job of the same name is ResourceInUse; a job that is not there is a ValidationException."""
    request = job_request(a_bucket(clients.s3))
    assert request["AlgorithmSpecification"]["TrainingImage"] == IMAGE
    clients.sagemaker.create_training_job(**request)
    with pytest.raises(clients.sagemaker.exceptions.ResourceInUse):
        clients.sagemaker.create_training_job(**request)
    finished(clients.sagemaker, request["TrainingJobName"])
    with pytest.raises(ClientError, match="Requested resource not found"):
        clients.sagemaker.describe_training_job(TrainingJobName="never-was")


@pytest.mark.parametrize(
    ("spot", "wait", "words"),
    [(True, None, "must be given"), (True, 59, "at least MaxRuntimeInSeconds"), (False, 60, "not supported")],
)
def test_a_wait_for_spot_must_fit_the_job(clients: Any, spot: bool, wait: int | None, words: str) -> None:
    """A wait that SageMaker refuses is refused; one that is as long as the job may run is taken, and described."""
    limit = {"MaxRuntimeInSeconds": 60} | ({} if wait is None else {"MaxWaitTimeInSeconds": wait})
    bucket = a_bucket(clients.s3)
    request = job_request(bucket, EnableManagedSpotTraining=spot, StoppingCondition=limit)
    with pytest.raises(ClientError, match=words):
        clients.sagemaker.create_training_job(**request)
    limit["MaxWaitTimeInSeconds"] = 60
    clients.sagemaker.create_training_job(**{**request, "EnableManagedSpotTraining": True})
    job = finished(clients.sagemaker, request["TrainingJobName"])
    assert (job["TrainingJobStatus"], job["EnableManagedSpotTraining"], job["StoppingCondition"]) == (
        "Completed",
        True,
        limit,
    )


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        ({"classes": "n" * 2501}, "Map value must have length less than or equal to 2500"),
        ({"n" * 257: ""}, "Map key must have length less than or equal to 256"),
        ({str(number): "" for number in range(101)}, "must have length less than or equal to 100"),
    ],
)
def test_hyperparameters_have_sagemaker_s_limits(clients: Any, chosen: dict[str, str], words: str) -> None:
    """botocore sends them all the same."""
    with pytest.raises(ClientError, match=f"ValidationException.*{words}"):
        clients.sagemaker.create_training_job(**job_request(a_bucket(clients.s3), HyperParameters=chosen))
