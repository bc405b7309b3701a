"""What `down` looks for and deletes, kind by kind: the operations answer as AWS's models say."""

import json

import pytest
from botocore.exceptions import ClientError, WaiterError

from aws_calls import fresh
from contract.conftest import LIVE, Checked

TAG = {"Key": "scones:env", "Value": "scones-contract"}
LAMBDA = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
TRUST = json.dumps({"Version": "2012-10-17", "Statement": [LAMBDA]})
READ = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}
OWN = json.dumps({"Version": "2012-10-17", "Statement": [READ]})


def test_what_is_tagged_is_listed(aws: Checked) -> None:
    """A tagged queue is found by its tag, and its address by its name; deleted, it is not there."""
    sqs, name = aws("sqs"), fresh("contract")
    sqs.create_queue(QueueName=name, tags={TAG["Key"]: name})
    assert sqs.get_queue_url(QueueName=name)["QueueUrl"].endswith(name)
    filters = [{"Key": TAG["Key"], "Values": [name]}]
    found = aws("resourcegroupstaggingapi").get_resources(TagFilters=filters)["ResourceTagMappingList"]
    assert aws.live or [each["ResourceARN"].rpartition(":")[2] for each in found] == [name]
    sqs.delete_queue(QueueUrl=sqs.get_queue_url(QueueName=name)["QueueUrl"])
    if not LIVE:  # AWS takes a minute to forget the name
        with pytest.raises(ClientError, match=r"NonExistentQueue|QueueDoesNotExist"):
            sqs.get_queue_url(QueueName=name)


def test_buckets_tags_and_names(aws: Checked) -> None:
    """A bucket's tags are read, and buckets are listed by how their names begin; without tags it is NoSuchTagSet."""
    s3, name = aws("s3"), fresh("scones-contract")
    s3.create_bucket(Bucket=name)
    with pytest.raises(ClientError, match="NoSuchTagSet"):
        s3.get_bucket_tagging(Bucket=name)
    s3.put_bucket_tagging(Bucket=name, Tagging={"TagSet": [TAG]})
    assert s3.get_bucket_tagging(Bucket=name)["TagSet"] == [TAG]
    assert [each["Name"] for each in s3.list_buckets(Prefix=name)["Buckets"]] == [name]
    s3.delete_bucket(Bucket=name)


def test_a_role(aws: Checked) -> None:
    """A role with a policy of its own and an attached one is taken apart, and is gone."""
    iam, name = aws("iam"), fresh("contract")
    arn = "arn:aws:iam::aws:policy/ReadOnlyAccess"
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=TRUST, Tags=[TAG])
    iam.put_role_policy(RoleName=name, PolicyName="own", PolicyDocument=OWN)
    iam.attach_role_policy(RoleName=name, PolicyArn=arn)
    assert name in [role["RoleName"] for page in iam.get_paginator("list_roles").paginate() for role in page["Roles"]]
    assert iam.list_roles(MaxItems=1)["Roles"]
    assert iam.list_role_tags(RoleName=name)["Tags"] == [TAG]
    assert iam.get_role(RoleName=name)["Role"]["RoleName"] == name
    assert iam.list_role_policies(RoleName=name)["PolicyNames"] == ["own"]
    assert [each["PolicyArn"] for each in iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"]] == [arn]
    iam.delete_role_policy(RoleName=name, PolicyName="own")
    iam.detach_role_policy(RoleName=name, PolicyArn=arn)
    iam.delete_role(RoleName=name)
    with pytest.raises(iam.exceptions.NoSuchEntityException):
        iam.get_role(RoleName=name)


def test_a_rule(aws: Checked) -> None:
    """A rule is disabled, loses its targets, and is gone."""
    events, name = aws("events"), fresh("contract")
    events.put_rule(Name=name, ScheduleExpression="rate(1 hour)", Tags=[TAG])
    events.put_targets(Rule=name, Targets=[{"Id": "one", "Arn": "arn:aws:sqs:us-east-1:000000000000:none"}])
    events.disable_rule(Name=name)
    assert events.describe_rule(Name=name)["State"] == "DISABLED"
    assert [target["Id"] for target in events.list_targets_by_rule(Rule=name)["Targets"]] == ["one"]
    events.remove_targets(Rule=name, Ids=["one"])
    events.delete_rule(Name=name)
    with pytest.raises(events.exceptions.ResourceNotFoundException):
        events.describe_rule(Name=name)


def test_alarms_and_a_dashboard(aws: Checked) -> None:
    """Both are found by name and deleted; a dashboard that is gone is an error, a list of alarms is empty."""
    client, name = aws("cloudwatch"), fresh("contract")
    client.put_metric_alarm(
        AlarmName=name,
        Namespace="Contract",
        MetricName="m",
        Period=60,
        EvaluationPeriods=1,
        Threshold=1,
        ComparisonOperator="GreaterThanThreshold",
        Statistic="Sum",
    )
    assert [each["AlarmName"] for each in client.describe_alarms(AlarmNames=[name])["MetricAlarms"]] == [name]
    client.delete_alarms(AlarmNames=[name])
    assert client.describe_alarms(AlarmNames=[name])["MetricAlarms"] == []
    client.put_dashboard(DashboardName=name, DashboardBody=json.dumps({"widgets": []}))
    assert client.list_dashboards(DashboardNamePrefix=name)["DashboardEntries"]
    assert client.get_dashboard(DashboardName=name)["DashboardName"] == name
    client.delete_dashboards(DashboardNames=[name])
    with pytest.raises(ClientError, match="ResourceNotFound"):
        client.get_dashboard(DashboardName=name)


def test_topics_and_log_groups(aws: Checked) -> None:
    """A topic's attributes are read, a stream of logs is deleted from its group; both go."""
    sns, logs, name = aws("sns"), aws("logs"), fresh("contract")
    arn = sns.create_topic(Name=name)["TopicArn"]
    assert sns.get_topic_attributes(TopicArn=arn)["Attributes"]["TopicArn"] == arn
    sns.delete_topic(TopicArn=arn)
    with pytest.raises(sns.exceptions.NotFoundException):
        sns.get_topic_attributes(TopicArn=arn)
    logs.create_log_group(logGroupName=name)
    logs.create_log_stream(logGroupName=name, logStreamName="job/1")
    assert logs.describe_log_streams(logGroupName=name, logStreamNamePrefix="job/")["logStreams"]
    logs.delete_log_stream(logGroupName=name, logStreamName="job/1")
    with pytest.raises(logs.exceptions.ResourceNotFoundException):
        logs.delete_log_stream(logGroupName=name, logStreamName="job/1")
    logs.delete_log_group(logGroupName=name)


def test_a_repository_a_build_project_and_a_key(aws: Checked) -> None:
    """A repository goes with its images, a project by its name; a key can only be scheduled to go."""
    ecr, codebuild, kms, name = aws("ecr"), aws("codebuild"), aws("kms"), fresh("contract")
    ecr.create_repository(repositoryName=name)
    assert ecr.describe_repositories(repositoryNames=[name])["repositories"][0]["repositoryName"] == name
    ecr.delete_repository(repositoryName=name, force=True)
    with pytest.raises(ecr.exceptions.RepositoryNotFoundException):
        ecr.describe_repositories(repositoryNames=[name])
    build = {"type": "LINUX_CONTAINER", "image": "aws/codebuild/standard:7.0", "computeType": "BUILD_GENERAL1_SMALL"}
    source = {"type": "NO_SOURCE", "buildspec": "version: 0.2"}
    nothing = {"type": "NO_ARTIFACTS"}
    codebuild.create_project(name=name, source=source, artifacts=nothing, environment=build, serviceRole=aws.role)
    assert [each["name"] for each in codebuild.batch_get_projects(names=[name])["projects"]] == [name]
    codebuild.delete_project(name=name)
    assert codebuild.batch_get_projects(names=[name])["projects"] == []
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    assert kms.describe_key(KeyId=key)["KeyMetadata"]["KeyState"] == "Enabled"
    kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=7)
    assert kms.describe_key(KeyId=key)["KeyMetadata"]["KeyState"] == "PendingDeletion"


def test_a_function_outside_a_stack(aws: Checked) -> None:
    """What outlived its stack is looked for by its configuration, and deleted."""
    client, name = aws("lambda"), fresh("contract")
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.get_function_configuration(FunctionName=name)
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.delete_function(FunctionName=name)


def test_a_name_that_is_taken(aws: Checked) -> None:
    """A stack that names another account's bucket fails before it creates anything; its events give the name."""
    client, s3, name = aws("cloudformation"), aws("s3"), fresh("scones-contract")
    s3.create_bucket(Bucket=name)
    body = json.dumps({"Resources": {"B": {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": name}}}})
    client.create_stack(StackName=name, TemplateBody=body)
    with pytest.raises(WaiterError):
        client.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig={"Delay": 1})
    events = client.describe_events(StackName=name, Filters={"FailedEvents": True})["OperationEvents"]
    assert aws.live or any(name in each.get("ValidationStatusReason", "") for each in events)
    client.delete_stack(StackName=name)
    client.get_waiter("stack_delete_complete").wait(StackName=name, WaiterConfig={"Delay": 1})
    s3.delete_bucket(Bucket=name)


def test_a_budget(aws: Checked) -> None:
    """A budget is found by its name, and deleted; one that is gone is NotFoundException."""
    client, name = aws("budgets"), fresh("contract")
    account = aws("sts").get_caller_identity()["Account"]
    limit = {"Amount": "1", "Unit": "USD"}
    budget = {"BudgetName": name, "BudgetType": "COST", "TimeUnit": "MONTHLY", "BudgetLimit": limit}
    client.create_budget(AccountId=account, Budget=budget)
    assert client.describe_budget(AccountId=account, BudgetName=name)["Budget"]["BudgetName"] == name
    client.delete_budget(AccountId=account, BudgetName=name)
    with pytest.raises(client.exceptions.NotFoundException):
        client.describe_budget(AccountId=account, BudgetName=name)


def test_a_stack_that_is_stuck(aws: Checked) -> None:
    """A stack lists its resources; one that is not stuck refuses to go on with a roll-back."""
    client, name = aws("cloudformation"), fresh("contract")
    body = json.dumps({"Resources": {"Topic": {"Type": "AWS::SNS::Topic"}}})
    client.create_stack(StackName=name, TemplateBody=body, Tags=[TAG])
    client.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig={"Delay": 1})
    listed = client.list_stack_resources(StackName=name)["StackResourceSummaries"]
    assert [(each["LogicalResourceId"], each["ResourceStatus"]) for each in listed] == [("Topic", "CREATE_COMPLETE")]
    with pytest.raises(ClientError, match="ValidationError"):
        client.continue_update_rollback(StackName=name)
    client.delete_stack(StackName=name)
    client.get_waiter("stack_delete_complete").wait(StackName=name, WaiterConfig={"Delay": 1})
