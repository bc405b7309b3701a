"""S3, SNS, SQS, STS, CloudWatch and its logs: the operations that the product uses answer as AWS's models say."""

import json
import time
from datetime import UTC, datetime, timedelta

import pytest
from botocore.exceptions import ClientError

from aws_calls import fresh
from contract.conftest import Checked


def test_objects(aws: Checked) -> None:
    """Put, head, get, list and delete; an unknown key is NoSuchKey."""
    s3, bucket = aws("s3"), fresh("scones-contract")
    s3.create_bucket(Bucket=bucket)
    s3.head_bucket(Bucket=bucket)
    s3.put_object(Bucket=bucket, Key="a/1", Body=b"one", ContentType="image/png", Metadata={"label": "bicycle"})
    head = s3.head_object(Bucket=bucket, Key="a/1")
    assert (head["ContentLength"], head["ContentType"], head["Metadata"]) == (3, "image/png", {"label": "bicycle"})
    assert s3.get_object(Bucket=bucket, Key="a/1")["Body"].read() == b"one"
    assert s3.list_objects_v2(Bucket=bucket, Prefix="a/")["KeyCount"] == 1
    with pytest.raises(ClientError, match="NoSuchKey"):
        s3.get_object(Bucket=bucket, Key="none")
    with pytest.raises(ClientError, match="404"):
        s3.head_object(Bucket=bucket, Key="none")
    with pytest.raises(ClientError, match="BucketNotEmpty"):
        s3.delete_bucket(Bucket=bucket)
    s3.delete_object(Bucket=bucket, Key="a/1")
    s3.delete_bucket(Bucket=bucket)
    with pytest.raises(ClientError, match="404"):
        s3.head_bucket(Bucket=bucket)
    s3.list_buckets()


def test_a_write_on_condition(aws: Checked) -> None:
    """An object is written only where there is none, or only over the version that was read; a listing begins late."""
    s3, bucket = aws("s3"), fresh("scones-contract")
    s3.create_bucket(Bucket=bucket)
    tag = s3.put_object(Bucket=bucket, Key="a", Body=b"1", IfNoneMatch="*")["ETag"]
    assert s3.get_object(Bucket=bucket, Key="a")["ETag"] == tag
    with pytest.raises(ClientError, match="PreconditionFailed"):
        s3.put_object(Bucket=bucket, Key="a", Body=b"2", IfNoneMatch="*")
    s3.put_object(Bucket=bucket, Key="a", Body=b"2", IfMatch=tag)
    with pytest.raises(ClientError, match="PreconditionFailed"):
        s3.put_object(Bucket=bucket, Key="a", Body=b"3", IfMatch=tag)
    with pytest.raises(ClientError, match="NoSuchKey"):
        s3.put_object(Bucket=bucket, Key="none", Body=b"3", IfMatch=tag)
    s3.put_object(Bucket=bucket, Key="b", Body=b"")
    assert [item["Key"] for item in s3.list_objects_v2(Bucket=bucket, StartAfter="a")["Contents"]] == ["b"]
    for key in "ab":
        s3.delete_object(Bucket=bucket, Key=key)
    s3.delete_bucket(Bucket=bucket)


def test_versions_and_uploads(aws: Checked) -> None:
    """Versions and delete markers are listed and purged; an open upload is listed and aborted."""
    s3, bucket = aws("s3"), fresh("scones-contract")
    s3.create_bucket(Bucket=bucket)
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    for body in (b"1", b"2"):
        s3.put_object(Bucket=bucket, Key="k", Body=body)
    s3.delete_object(Bucket=bucket, Key="k")
    listed = s3.list_object_versions(Bucket=bucket)
    found = [*listed["Versions"], *listed["DeleteMarkers"]]
    assert len(found) == 3
    doomed = [{"Key": each["Key"], "VersionId": each["VersionId"]} for each in found]
    assert len(s3.delete_objects(Bucket=bucket, Delete={"Objects": doomed})["Deleted"]) == 3
    upload = s3.create_multipart_upload(Bucket=bucket, Key="big")["UploadId"]
    assert [each["UploadId"] for each in s3.list_multipart_uploads(Bucket=bucket)["Uploads"]] == [upload]
    s3.abort_multipart_upload(Bucket=bucket, Key="big", UploadId=upload)
    s3.delete_bucket(Bucket=bucket)


def test_a_message_travels(aws: Checked) -> None:
    """What is published to a topic is received from the queue that subscribed."""
    sns, sqs, name = aws("sns"), aws("sqs"), fresh("contract")
    topic = sns.create_topic(Name=name)["TopicArn"]
    queue = sqs.create_queue(QueueName=name)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "sns.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": arn,
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": policy})
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, ReturnSubscriptionArn=True)
    beside = {"alert": {"DataType": "String", "StringValue": "{}"}}
    sns.publish(TopicArn=topic, Subject="alert", Message="drift", MessageAttributes=beside)
    (message,) = sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=10)["Messages"]
    body = json.loads(message["Body"])
    assert (body["Message"], body["MessageAttributes"]["alert"]["Value"]) == ("drift", "{}")
    sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
    sqs.delete_queue(QueueUrl=queue)
    sns.delete_topic(TopicArn=topic)
    with pytest.raises(ClientError, match="NotFound"):
        sns.publish(TopicArn=topic, Message="late")


def test_the_caller_is_known(aws: Checked) -> None:
    """GetCallerIdentity names an account of twelve digits."""
    assert len(aws("sts").get_caller_identity()["Account"]) == 12


def test_a_metric_is_kept(aws: Checked) -> None:
    """PutMetricData is accepted, and the value is found again."""
    cloudwatch, name = aws("cloudwatch"), fresh("Drift")
    data = {"MetricName": name, "Value": 3.0, "Unit": "None", "Dimensions": [{"Name": "Channel", "Value": "noise"}]}
    cloudwatch.put_metric_data(Namespace="Scones/Contract", MetricData=[data])
    if aws.live:
        return  # a metric takes minutes to appear
    now = datetime.now(UTC)
    found = cloudwatch.get_metric_statistics(
        Namespace="Scones/Contract",
        MetricName=name,
        Dimensions=data["Dimensions"],
        StartTime=now - timedelta(minutes=5),
        EndTime=now + timedelta(minutes=1),
        Period=60,
        Statistics=["Sum"],
    )
    assert [point["Sum"] for point in found["Datapoints"]] == [3.0]


def test_an_alarm_is_enabled(aws: Checked) -> None:
    """EnableAlarmActions is accepted, also for an alarm that is not there."""
    cloudwatch, name = aws("cloudwatch"), fresh("contract")
    cloudwatch.put_metric_alarm(
        AlarmName=name,
        Namespace="Scones/Contract",
        MetricName=name,
        Statistic="Sum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=1,
        ComparisonOperator="GreaterThanThreshold",
        ActionsEnabled=False,
    )
    cloudwatch.enable_alarm_actions(AlarmNames=[name, f"{name}-never-was"])
    assert cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"][0]["ActionsEnabled"]
    cloudwatch.delete_alarms(AlarmNames=[name])


def test_log_lines(aws: Checked) -> None:
    """Groups, streams and lines are written, listed, read and deleted; a group that is not there is an error."""
    logs, group = aws("logs"), f"/scones/{fresh('contract')}"
    logs.create_log_group(logGroupName=group)
    logs.create_log_stream(logGroupName=group, logStreamName="s")
    event = {"timestamp": int(time.time() * 1000), "message": "epoch=1"}
    logs.put_log_events(logGroupName=group, logStreamName="s", logEvents=[event])
    assert len(logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"]) == 1
    assert len(logs.describe_log_streams(logGroupName=group)["logStreams"]) == 1
    if not aws.live:
        found = logs.get_log_events(logGroupName=group, logStreamName="s", startFromHead=True)["events"]
        assert [each["message"] for each in found] == ["epoch=1"]
        where = {"logGroupName": group, "startTime": event["timestamp"], "startFromHead": False}
        filtered = logs.filter_log_events(**where, filterPattern='"epoch=1"', logStreamNamePrefix="s")["events"]
        assert [each["message"] for each in filtered] == ["epoch=1"]
    logs.delete_log_group(logGroupName=group)
    for operation in (logs.describe_log_streams, logs.filter_log_events):
        with pytest.raises(ClientError, match="ResourceNotFoundException"):
            operation(logGroupName=group)


def test_an_image_that_is_not_there(aws: Checked) -> None:
    """The registry says which of the two is missing: the repository, or the image in it."""
    ecr = aws("ecr")
    with pytest.raises(ClientError, match="RepositoryNotFoundException"):
        ecr.describe_images(repositoryName=fresh("contract"), imageIds=[{"imageTag": "latest"}])


def test_quotas(aws: Checked) -> None:
    """AWS lists them by name, and so does the local cloud."""
    quotas = aws("service-quotas")
    assert quotas.list_service_quotas(ServiceCode="codebuild", MaxResults=1)["Quotas"]
    pages = quotas.get_paginator("list_service_quotas").paginate(ServiceCode="sagemaker")
    assert "ml.m5.large for endpoint usage" in {item["QuotaName"] for page in pages for item in page["Quotas"]}
