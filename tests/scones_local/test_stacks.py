"""CloudFormation in the local cloud: SageMaker's types, and buckets that behave."""

import json
import time
from typing import Any

from aws_calls import IMAGE, ROLE, a_bucket, a_variant, capture, fresh, trained


def settled(clients: Any, stack: str) -> dict[str, Any]:
    """The stack, once nothing is in progress; empty when it is gone."""
    while True:
        try:
            found = clients.cloudformation.describe_stacks(StackName=stack)["Stacks"][0]
        except clients.cloudformation.exceptions.ClientError:
            return {}
        if not found["StackStatus"].endswith("IN_PROGRESS"):
            return dict(found)
        time.sleep(0.05)


def hosting_template(bucket: str, archive: str) -> dict[str, Any]:
    """A model, a configuration and an endpoint that refer to each other."""
    container = {"Image": IMAGE, "ModelDataUrl": archive}
    model = {"ExecutionRoleArn": ROLE, "PrimaryContainer": container}
    variant = {**a_variant(""), "ModelName": {"Fn::GetAtt": ["Model", "ModelName"]}, "InitialInstanceCount": "1"}
    config = {"ProductionVariants": [variant], "DataCaptureConfig": capture(bucket)}
    # As parameters of a stack give them: numbers are strings.
    routing = {
        "Type": "CANARY",
        "WaitIntervalInSeconds": "1",
        "CanarySize": {"Type": "CAPACITY_PERCENT", "Value": "50"},
    }
    endpoint = {
        "EndpointConfigName": {"Fn::GetAtt": ["Config", "EndpointConfigName"]},
        "DeploymentConfig": {"BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": routing}},
        "Tags": [{"Key": "project", "Value": "scones"}],
    }
    return {
        "Resources": {
            "Model": {"Type": "AWS::SageMaker::Model", "Properties": model},
            "Config": {"Type": "AWS::SageMaker::EndpointConfig", "Properties": config},
            "Endpoint": {"Type": "AWS::SageMaker::Endpoint", "Properties": endpoint},
        },
        "Outputs": {
            "Name": {"Value": {"Fn::GetAtt": ["Endpoint", "EndpointName"]}},
            "Arn": {"Value": {"Ref": "Endpoint"}},
        },
    }


def test_a_stack_serves_updates_and_goes(clients: Any) -> None:
    """An endpoint of a stack answers, serves the new model after an update, and nothing of it stays after delete."""
    bucket, stack = a_bucket(clients.s3), fresh("stack")
    template = hosting_template(bucket, trained(clients.sagemaker, bucket))
    clients.cloudformation.create_stack(StackName=stack, TemplateBody=json.dumps(template))
    outputs = {o["OutputKey"]: o["OutputValue"] for o in settled(clients, stack)["Outputs"]}
    name = outputs["Name"]
    assert outputs["Arn"].endswith(f":endpoint/{name}")
    before = clients.sagemaker_runtime.invoke_endpoint(EndpointName=name, Body=b"x")["Body"].read()
    template["Resources"]["Model"]["Properties"]["PrimaryContainer"]["ModelDataUrl"] = trained(
        clients.sagemaker, bucket, answer="0.1"
    )
    clients.cloudformation.update_stack(StackName=stack, TemplateBody=json.dumps(template))
    assert settled(clients, stack)["StackStatus"] == "UPDATE_COMPLETE"
    after = clients.sagemaker_runtime.invoke_endpoint(EndpointName=name, Body=b"x")["Body"].read()
    assert (json.loads(before)[0], json.loads(after)[0]) == (0.75, 0.1)
    clients.cloudformation.delete_stack(StackName=stack)
    assert settled(clients, stack) == {}
    for listed in (
        clients.sagemaker.list_endpoints,
        clients.sagemaker.list_models,
        clients.sagemaker.list_endpoint_configs,
    ):
        assert stack not in json.dumps(listed(MaxResults=100), default=str)


def test_an_endpoint_that_fails_fails_its_stack(clients: Any) -> None:
    """The stack is rolled back, and the event says what the server said."""
    bucket, stack = a_bucket(clients.s3), fresh("stack")
    template = hosting_template(bucket, trained(clients.sagemaker, bucket))
    template["Resources"]["Model"]["Properties"]["PrimaryContainer"]["Environment"] = {"REFUSE": "1"}
    clients.cloudformation.create_stack(StackName=stack, TemplateBody=json.dumps(template))
    assert settled(clients, stack)["StackStatus"] == "ROLLBACK_COMPLETE"
    events = clients.cloudformation.describe_stack_events(StackName=stack)["StackEvents"]
    assert any("no such model format" in event.get("ResourceStatusReason", "") for event in events)


def test_a_full_bucket_is_not_deleted(clients: Any) -> None:
    """A stack whose bucket holds objects or versions ends in DELETE_FAILED; emptied, it goes. Tags stay and name it."""
    name, stack = fresh("bucket"), fresh("stack")
    properties = {
        "BucketName": name,
        "VersioningConfiguration": {"Status": "Enabled"},
        "Tags": [{"Key": "project", "Value": "scones"}],
    }
    template = {"Resources": {"B": {"Type": "AWS::S3::Bucket", "Properties": properties}}}
    clients.cloudformation.create_stack(StackName=stack, TemplateBody=json.dumps(template))
    assert settled(clients, stack)["StackStatus"] == "CREATE_COMPLETE"
    tags = {tag["Key"]: tag["Value"] for tag in clients.s3.get_bucket_tagging(Bucket=name)["TagSet"]}
    assert (tags["project"], tags["aws:cloudformation:stack-name"]) == ("scones", stack)
    version = clients.s3.put_object(Bucket=name, Key="a", Body=b"")["VersionId"]
    clients.cloudformation.delete_stack(StackName=stack)
    assert settled(clients, stack)["StackStatus"] == "DELETE_FAILED"
    clients.s3.delete_object(Bucket=name, Key="a", VersionId=version)
    clients.cloudformation.delete_stack(StackName=stack)
    assert settled(clients, stack) == {}


def test_a_function_needs_its_archive(clients: Any) -> None:
    """A function whose archive is not in the bucket fails its stack, and the event names the archive."""
    bucket, stack = a_bucket(clients.s3), fresh("stack")
    code = {"S3Bucket": bucket, "S3Key": "gone.zip"}
    properties = {"Runtime": "python3.11", "Role": ROLE, "Handler": "a.b", "Code": code}
    template = {"Resources": {"F": {"Type": "AWS::Lambda::Function", "Properties": properties}}}
    clients.cloudformation.create_stack(StackName=stack, TemplateBody=json.dumps(template))
    assert settled(clients, stack)["StackStatus"] == "ROLLBACK_COMPLETE"
    events = clients.cloudformation.describe_stack_events(StackName=stack)["StackEvents"]
    assert any("NoSuchKey" in event.get("ResourceStatusReason", "") for event in events)
