"""SageMaker: every operation of the local cloud answers as AWS's models say."""

import time

import pytest
from botocore.exceptions import ClientError

from aws_calls import (
    IMAGE,
    ROLE,
    a_bucket,
    a_config,
    a_variant,
    an_alarm,
    capture,
    finished,
    fresh,
    job_request,
    settled,
    shifting,
    trained,
)
from contract.conftest import LIVE, Checked

pytestmark = pytest.mark.skipif(LIVE, reason="needs the container image in a registry")


def test_training_jobs(aws: Checked) -> None:
    """Create, describe, list, tag and stop; names that are taken or unknown are errors."""
    client, request = aws("sagemaker"), job_request(a_bucket(aws("s3")))
    name = request["TrainingJobName"]
    arn = client.create_training_job(**request, Tags=[{"Key": "a", "Value": "b"}])["TrainingJobArn"]
    assert client.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "a", "Value": "b"}]
    assert finished(client, name)["TrainingJobStatus"] == "Completed"
    assert client.list_training_jobs(NameContains=name, SortBy="CreationTime", StatusEquals="Completed")[
        "TrainingJobSummaries"
    ]
    with pytest.raises(client.exceptions.ResourceInUse):
        client.create_training_job(**request)
    with pytest.raises(ClientError, match="ValidationException"):
        client.describe_training_job(TrainingJobName="never-was")
    bucket = a_bucket(aws("s3"))
    kept = {"S3Uri": f"s3://{bucket}/checkpoints"}
    other = job_request(bucket, HyperParameters={"sleep": "30"}, CheckpointConfig=kept)
    client.create_training_job(**other)
    while client.describe_training_job(TrainingJobName=other["TrainingJobName"])["SecondaryStatus"] != "Training":
        time.sleep(0.05)
    client.stop_training_job(TrainingJobName=other["TrainingJobName"])
    ended = finished(client, other["TrainingJobName"])
    assert (ended["TrainingJobStatus"], ended["CheckpointConfig"]) == ("Stopped", kept)


def test_keys(aws: Checked) -> None:
    """A job's model and disk, and an endpoint's capture and disk, are described with the key that was given."""
    client, bucket, key = aws("sagemaker"), a_bucket(aws("s3")), "arn:aws:kms:us-east-1:000000000000:key/1"
    request = job_request(bucket)
    request["OutputDataConfig"]["KmsKeyId"] = request["ResourceConfig"]["VolumeKmsKeyId"] = key
    client.create_training_job(**request)
    job = finished(client, request["TrainingJobName"])
    assert (job["OutputDataConfig"]["KmsKeyId"], job["ResourceConfig"]["VolumeKmsKeyId"]) == (key, key)
    name, image = fresh("contract"), {"Image": IMAGE, "ModelDataUrl": job["ModelArtifacts"]["S3ModelArtifacts"]}
    client.create_model(ModelName=name, ExecutionRoleArn=ROLE, PrimaryContainer=image)
    captured = {**capture(bucket), "KmsKeyId": key}
    client.create_endpoint_config(
        EndpointConfigName=name, ProductionVariants=[a_variant(name)], DataCaptureConfig=captured, KmsKeyId=key
    )
    found = client.describe_endpoint_config(EndpointConfigName=name)
    assert (found["KmsKeyId"], found["DataCaptureConfig"]) == (key, captured)


def test_endpoints(aws: Checked) -> None:
    """Model, configuration and endpoint: create, describe, list, update, invoke, tag, delete, and the errors."""
    client, runtime, bucket, name = aws("sagemaker"), aws("sagemaker-runtime"), a_bucket(aws("s3")), fresh("contract")
    request = job_request(bucket)
    client.create_training_job(**request)
    archive = finished(client, request["TrainingJobName"])["ModelArtifacts"]["S3ModelArtifacts"]
    client.create_model(
        ModelName=name, ExecutionRoleArn=ROLE, PrimaryContainer={"Image": IMAGE, "ModelDataUrl": archive}
    )
    client.describe_model(ModelName=name)
    for config in (name, f"{name}-2"):
        client.create_endpoint_config(
            EndpointConfigName=config, ProductionVariants=[a_variant(name)], DataCaptureConfig=capture(bucket)
        )
        client.describe_endpoint_config(EndpointConfigName=config)
    arn = client.create_endpoint(EndpointName=name, EndpointConfigName=name)["EndpointArn"]
    client.describe_endpoint(EndpointName=name)
    assert settled(client, name)["EndpointStatus"] == "InService"
    reply = runtime.invoke_endpoint(EndpointName=name, Body=b"x", ContentType="image/png", InferenceId="i")
    assert reply["Body"].read() == b"[0.75, 1]"
    with pytest.raises(runtime.exceptions.ModelError):
        runtime.invoke_endpoint(EndpointName=name, Body=b"break")
    with pytest.raises(runtime.exceptions.ValidationError):
        runtime.invoke_endpoint(EndpointName="never-was", Body=b"x")
    client.add_tags(ResourceArn=arn, Tags=[{"Key": "a", "Value": "b"}])
    client.delete_tags(ResourceArn=arn, TagKeys=["a"])
    client.update_endpoint(EndpointName=name, EndpointConfigName=f"{name}-2")
    assert settled(client, name)["EndpointConfigName"] == f"{name}-2"
    wanted = shifting("CANARY", 50, 1, an_alarm(aws("cloudwatch"), name))
    client.update_endpoint(EndpointName=name, EndpointConfigName=name, DeploymentConfig=wanted)
    assert client.describe_endpoint(EndpointName=name)["PendingDeploymentSummary"]["EndpointConfigName"] == name
    assert settled(client, name)["LastDeploymentConfig"] == wanted
    with pytest.raises(ClientError, match="ValidationException"):
        client.update_endpoint(
            EndpointName=name, EndpointConfigName=name, DeploymentConfig=shifting("LINEAR", 5, 1, "none")
        )
    for listing in (client.list_models, client.list_endpoint_configs, client.list_endpoints):
        listing(NameContains=name, MaxResults=1)
    client.delete_endpoint(EndpointName=name)
    for config in (name, f"{name}-2"):
        client.delete_endpoint_config(EndpointConfigName=config)
    client.delete_model(ModelName=name)
    for call in (client.describe_endpoint, client.delete_endpoint):
        with pytest.raises(ClientError, match="ValidationException"):
            call(EndpointName=name)


def test_the_model_registry(aws: Checked) -> None:
    """A group and its packages: create, describe, list, decide, tag, delete, and the errors."""
    client, bucket, name = aws("sagemaker"), a_bucket(aws("s3")), fresh("contract")
    aws("s3").put_object(Bucket=bucket, Key="model.tar.gz", Body=b"a model")
    tags = [{"Key": "a", "Value": "b"}]
    arn = client.create_model_package_group(ModelPackageGroupName=name, Tags=tags)["ModelPackageGroupArn"]
    assert client.list_tags(ResourceArn=arn)["Tags"] == tags
    with pytest.raises(ClientError, match="ValidationException"):
        client.create_model_package_group(ModelPackageGroupName=name)
    assert client.describe_model_package_group(ModelPackageGroupName=name)["ModelPackageGroupArn"] == arn
    assert client.list_model_package_groups(NameContains=name)["ModelPackageGroupSummaryList"]
    statistics = {"ContentType": "application/json", "S3Uri": f"s3://{bucket}/figures.json"}
    request = {
        "ModelPackageGroupName": name,
        "ModelPackageDescription": "a model",
        "InferenceSpecification": {
            "Containers": [{"Image": IMAGE, "ModelDataUrl": f"s3://{bucket}/model.tar.gz"}],
            "SupportedContentTypes": ["image/png"],
            "SupportedResponseMIMETypes": ["application/json"],
        },
        "ModelApprovalStatus": "PendingManualApproval",
        "ModelMetrics": {"ModelQuality": {"Statistics": statistics}},
        "CustomerMetadataProperties": {"seed": "0"},
    }
    first, second = (client.create_model_package(**request)["ModelPackageArn"] for _ in range(2))
    assert second == first[:-1] + "2"
    client.update_model_package(ModelPackageArn=second, ModelApprovalStatus="Approved", ApprovalDescription="by hand")
    found = client.describe_model_package(ModelPackageName=second)
    assert (found["ModelPackageVersion"], found["ModelApprovalStatus"]) == (2, "Approved")
    assert (found["ApprovalDescription"], found["CustomerMetadataProperties"]) == ("by hand", {"seed": "0"})
    listing = {"ModelPackageGroupName": name, "SortBy": "CreationTime", "SortOrder": "Descending"}
    assert len(client.list_model_packages(**listing)["ModelPackageSummaryList"]) == 2
    page = client.list_model_packages(**listing, ModelApprovalStatus="Approved", MaxResults=1)
    assert [item["ModelPackageArn"] for item in page["ModelPackageSummaryList"]] == [second]
    with pytest.raises(client.exceptions.ConflictException):
        client.delete_model_package_group(ModelPackageGroupName=name)
    for package in (first, second):
        client.delete_model_package(ModelPackageName=package)
    client.delete_model_package_group(ModelPackageGroupName=name)
    for call in (client.describe_model_package, client.delete_model_package):
        with pytest.raises(ClientError, match=r"ValidationException.*does not exist"):
            call(ModelPackageName=first)
    with pytest.raises(ClientError, match=r"ValidationException.*does not exist"):
        client.list_model_packages(ModelPackageGroupName=name)


def test_scaling(aws: Checked) -> None:
    """Register, describe and deregister what is scaled, with its policy; an update keeps the count when told to."""
    client, name = aws("application-autoscaling"), fresh("contract")
    sagemaker, bucket = aws("sagemaker"), a_bucket(aws("s3"))
    archive = trained(sagemaker, bucket)
    config = a_config(sagemaker, bucket, archive)
    sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=config)
    assert settled(sagemaker, name)["EndpointStatus"] == "InService"
    resource, dimension = f"endpoint/{name}/variant/AllTraffic", "sagemaker:variant:DesiredInstanceCount"
    target = {"ServiceNamespace": "sagemaker", "ResourceId": resource, "ScalableDimension": dimension}
    with pytest.raises(client.exceptions.ObjectNotFoundException):
        client.deregister_scalable_target(**target)
    client.register_scalable_target(**target, MinCapacity=1, MaxCapacity=3)
    predefined = {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"}
    client.put_scaling_policy(
        **target,
        PolicyName="follow",
        PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration={"TargetValue": 100.0, "PredefinedMetricSpecification": predefined},
    )
    (found,) = client.describe_scalable_targets(ServiceNamespace="sagemaker", ResourceIds=[resource])["ScalableTargets"]
    assert (found["MinCapacity"], found["MaxCapacity"]) == (1, 3)
    assert (
        len(client.describe_scaling_policies(ServiceNamespace="sagemaker", ResourceId=resource)["ScalingPolicies"]) == 1
    )
    for query in ({**target, "ResourceId": "endpoint/never-was/variant/AllTraffic"}, target):
        with pytest.raises(client.exceptions.ValidationException):
            client.register_scalable_target(**query, MinCapacity=4, MaxCapacity=3)
    larger = a_config(sagemaker, bucket, archive, instances=2)
    sagemaker.update_endpoint(EndpointName=name, EndpointConfigName=larger, RetainAllVariantProperties=True)
    assert settled(sagemaker, name)["ProductionVariants"][0]["CurrentInstanceCount"] == 1
    variant = {**a_variant(config), "InstanceType": "ml.m5.xlarge"}
    sagemaker.create_endpoint_config(EndpointConfigName=f"{name}-other", ProductionVariants=[variant])
    with pytest.raises(ClientError, match="scalable target"):
        sagemaker.update_endpoint(EndpointName=name, EndpointConfigName=f"{name}-other")
    client.deregister_scalable_target(**target)
    assert client.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"] == []
    assert client.describe_scaling_policies(ServiceNamespace="sagemaker")["ScalingPolicies"] == []
    sagemaker.delete_endpoint(EndpointName=name)
