"""Rules for the template that no linter knows."""

import copy
import json
import re
import runpy
from pathlib import Path
from typing import Any

import botocore.session

from access_keys import KEYS
from infra.policies import composed, grants, is_known, listed, resources, statements, takes_resources
from scones.aws.client import Client
from scones.deployment.template import base_template, function_release, state_machine
from scones.pipeline import Pipeline

ROOT = Path(__file__).parents[2]

SERVERLESS_MEMORY_MB = {1024, 2048, 3072, 4096, 5120, 6144}
ANYWHERE = {
    "cloudwatch:PutMetricData": "held to a namespace by a condition",
    "sagemaker:ListModelPackages": "a list names no package",
    "cloudwatch:DescribeAlarms": "reads, and Application Auto Scaling does not name the alarms that it looks for",
}
"""Actions allowed on any resource although AWS's table lists some, with the reason."""
NAMES = (
    *("Name", "AlarmName", "BucketName", "BudgetName", "DashboardName", "FunctionName", "LogGroupName", "ProjectName"),
    *("QueueName", "RepositoryName", "StateMachineName", "TableName", "TopicName"),
)
STATEFUL = ("AWS::S3::Bucket", "AWS::DynamoDB::Table", "AWS::KMS::Key")


def test_no_policy_allows_an_action_that_aws_does_not_have() -> None:
    """A misspelt action allows nothing, which shows only when the first call fails."""
    assert sorted({grant.action for grant in grants() if "*" in grant.action or not is_known(grant.action)}) == []
    assert not is_known("s3:HeadObject")  # the call of that name needs s3:GetObject


def test_any_resource_is_allowed_only_where_aws_knows_no_narrower_one() -> None:
    """Each exception has its reason."""
    wide = {grant.action for grant in grants() if grant.everywhere}
    assert {action for action in wide if takes_resources(action)} == set(ANYWHERE) & wide
    metrics = [grant for grant in grants() if grant.action == "cloudwatch:PutMetricData"]
    assert metrics
    assert all(grant.conditional for grant in metrics)


def test_only_this_account_may_have_aws_take_on_a_role() -> None:
    """Without aws:SourceAccount, another account's function could be made to use ours."""
    for name, role in resources("AWS::IAM::Role").items():
        for statement in statements(role["Properties"]["AssumeRolePolicyDocument"]):
            assert statement["Condition"]["StringEquals"]["aws:SourceAccount"] == {"Ref": "AWS::AccountId"}, name


def test_every_log_group_forgets() -> None:
    """Logs are kept for days, not for good."""
    groups = resources("AWS::Logs::LogGroup")
    assert groups
    assert [name for name, group in groups.items() if not group["Properties"].get("RetentionInDays")] == []


def test_every_function_writes_into_a_log_group_of_the_stack() -> None:
    """A group that Lambda makes by itself is kept for ever, and outlives the stack."""
    groups = {json.dumps(item["Properties"]["LogGroupName"]) for item in resources("AWS::Logs::LogGroup").values()}
    for function in resources("AWS::Lambda::Function").values():
        name = function["Properties"]["FunctionName"]["Fn::Sub"]
        assert json.dumps({"Fn::Sub": f"/aws/lambda/{name}"}) in groups
    allowed = {grant.action for grant in grants() if not grant.role.startswith(("Training", "Hosting", "Image"))}
    assert "logs:CreateLogGroup" not in allowed


def test_every_state_machine_logs_its_errors_and_never_its_photos() -> None:
    """Execution data would hold photos, and where couriers are."""
    for machine in resources("AWS::StepFunctions::StateMachine").values():
        logging = machine["Properties"]["LoggingConfiguration"]
        assert (logging["Level"], logging["IncludeExecutionData"]) == ("ERROR", False)


def test_every_name_carries_the_environment() -> None:
    """Environments stand side by side in one account."""
    found = [
        (name, key, value)
        for name, item in composed().items()
        if not item["Type"].startswith(("AWS::Lambda::Alias", "AWS::Lambda::Version"))
        for key, value in item["Properties"].get("Budget", item["Properties"]).items()
        if key in NAMES and not _points_elsewhere(value)
    ]
    assert len(found) > 30
    assert [entry for entry in found if "${Env}" not in json.dumps(entry[2])] == []


def test_every_alarm_has_an_action() -> None:
    """An alarm without an action notifies no one."""
    alarms = resources("AWS::CloudWatch::Alarm")
    assert len(alarms) >= 12
    assert [name for name, alarm in alarms.items() if not alarm["Properties"].get("AlarmActions")] == []
    assert [name for name, alarm in alarms.items() if "TreatMissingData" not in alarm["Properties"]] == []


def test_the_dashboard_shows_every_alarm() -> None:
    """Who looks there first overlooks none."""
    shown = set(re.findall(r"\$\{(\w+)\.Arn\}", json.dumps(composed()["Dashboard"])))
    assert shown == set(resources("AWS::CloudWatch::Alarm"))


def test_what_a_rule_or_a_topic_calls_has_bounded_retries_and_a_place_for_what_is_lost() -> None:
    """Lambda would try twice more, and then forget what it was asked."""
    called = {listed(item["Properties"]["Targets"])[0]["Arn"]["Fn::GetAtt"][0] for item in _scheduled()}
    told = [item["Properties"] for item in resources("AWS::SNS::Subscription").values()]
    called |= {item["Endpoint"]["Fn::GetAtt"][0] for item in told if item["Protocol"] == "lambda"}
    kept = {
        item["Properties"]["FunctionName"]["Ref"]: item for item in resources("AWS::Lambda::EventInvokeConfig").values()
    }
    assert called == set(kept)
    for config in kept.values():
        assert config["Properties"]["MaximumRetryAttempts"] <= 1
        assert config["Properties"]["DestinationConfig"]["OnFailure"]["Destination"] == {
            "Fn::GetAtt": ["LostCalls", "Arn"]
        }


def test_every_topic_and_queue_is_spoken_to_over_tls_only() -> None:
    """As the bucket."""
    for kind, members in (("AWS::SNS::Topic", "Topics"), ("AWS::SQS::Queue", "Queues")):
        guarded = [item["Properties"] for item in resources(f"{kind}Policy").values()]
        for name in resources(kind):
            mine = [policy for policy in guarded if {"Ref": name} in policy[members]]
            denied = [s for policy in mine for s in statements(policy["PolicyDocument"]) if s["Effect"] == "Deny"]
            assert [s["Condition"]["Bool"] for s in denied] == [{"aws:SecureTransport": False}], name


def test_all_that_keeps_data_is_encrypted_by_the_key_where_there_is_one() -> None:
    """The bucket, tables, topics, queues, logs and the functions' variables."""
    kinds = {"AWS::S3::Bucket", "AWS::DynamoDB::Table", "AWS::SNS::Topic", "AWS::SQS::Queue", "AWS::Logs::LogGroup"}
    kept = {name: item for name, item in composed().items() if item["Type"] in kinds | {"AWS::Lambda::Function"}}
    assert [name for name, item in kept.items() if '"WithKey"' not in json.dumps(item["Properties"])] == []


def test_a_replaced_store_is_kept() -> None:
    """No update of the stack deletes photos or decisions; `scones down` does, when it is asked to."""
    for name, item in composed().items():
        if item["Type"] in STATEFUL:
            assert (item["DeletionPolicy"], item["UpdateReplacePolicy"]) == ("Delete", "Retain"), name


def test_executions_call_published_versions() -> None:
    """An update changes what an execution calls all at once."""
    for machine in resources("AWS::StepFunctions::StateMachine").values():
        called = {n: v for n, v in machine["Properties"]["DefinitionSubstitutions"].items() if n.endswith("Function")}
        assert {value["Ref"] for value in called.values()} <= set(resources("AWS::Lambda::Alias"))


def test_a_version_changes_with_its_function_and_never_without() -> None:
    """Lambda publishes no version of a function that is the same; CloudFormation then fails."""
    for version in resources("AWS::Lambda::Version").values():
        function = resources("AWS::Lambda::Function")[version["Properties"]["FunctionName"]["Ref"]]
        assert {"Ref": "FunctionRelease"} in function["Properties"]["Environment"]["Variables"].values()
        assert "FunctionRelease" in json.dumps(version["Properties"]["Description"])
    once = {"CodeKey": "code/a.zip", "Threshold": "0.8"}
    assert function_release(once) == function_release(copy.copy(once))
    assert function_release(once) != function_release({**once, "Threshold": "0.9"})


def test_serverless_endpoints_have_a_size_that_sagemaker_takes_and_no_capture() -> None:
    """cfn-lint passes over both."""
    for config in resources("AWS::SageMaker::EndpointConfig").values():
        serverless = [
            v["ServerlessConfig"] for v in config["Properties"]["ProductionVariants"] if "ServerlessConfig" in v
        ]
        assert not (serverless and "DataCaptureConfig" in config["Properties"])
        assert {item["MemorySizeInMB"] for item in serverless} <= SERVERLESS_MEMORY_MB


def test_the_foundation_is_sent_whole_and_needs_nothing_of_the_rest() -> None:
    """It is what makes the bucket through which the whole template goes."""
    text = json.dumps(base_template(), separators=(",", ":"))
    assert len(text) < 51_200
    present: Any = base_template()["Resources"]
    named = set(re.findall(r'"(?:Ref|Fn::GetAtt)":\[?"(\w+)"', text))
    assert named & set(composed()) <= set(present)


def test_each_part_of_the_template_is_short() -> None:
    """A person reads one at once."""
    for part in (Path(__file__).parents[2] / "infra" / "stack").glob("*.yaml"):
        assert len(part.read_text().splitlines()) <= 400, part.name


def _scheduled() -> list[Any]:
    rules = resources("AWS::Events::Rule").values()
    return [item for item in rules if "Fn::GetAtt" in listed(item["Properties"]["Targets"])[0]["Arn"]]


def _points_elsewhere(value: Any) -> bool:
    return isinstance(value, dict) and ("Ref" in value or "Fn::GetAtt" in value)


TAGGED = {
    *("sagemaker:CreateEndpoint", "sagemaker:CreateEndpointConfig", "sagemaker:CreateModel"),
    *("sagemaker:CreateModelPackageGroup", "sagemaker:CreateTrainingJob", "cloudformation:CreateChangeSet"),
}
UNTAGGED = {
    "sagemaker:CreateModelPackage": "a version has its group's tags, and SageMaker refuses others",
    "application-autoscaling:RegisterScalableTarget": "it costs nothing; AWS refuses tags for a target that exists",
}


def test_a_call_that_takes_tags_gives_them_or_has_a_reason_not_to() -> None:
    """The bill is by tag. A new call must be added to one of the two; the stack passes its tags on to all in it."""
    session = botocore.session.get_session()
    actions = set(runpy.run_path(str(ROOT / "docs" / "permissions.py"))["_of_commands"]())
    taking = set()
    for action in actions:
        service, _, operation = action.partition(":")
        if service in session.get_available_services():
            model = session.get_service_model(service)
            shape = model.operation_model(operation).input_shape if operation in model.operation_names else None
            if (
                shape
                and {"Tags", "tags"} & shape.members.keys()
                and operation.startswith(("Create", "Register", "Start"))
            ):
                taking.add(action)
    assert taking == TAGGED | UNTAGGED.keys()


def test_every_call_that_gives_tags_names_them_in_its_request(flow: Pipeline) -> None:
    """Each resource carries the environment's tag: the endpoint, its configuration, its model and the model's group."""
    client = Client(flow.settings, "sagemaker", KEYS)
    endpoint = client.call("describe_endpoint", EndpointName=flow.aws.name)
    config = client.call("describe_endpoint_config", EndpointConfigName=endpoint["EndpointConfigName"])
    model = client.call("describe_model", ModelName=config["ProductionVariants"][0]["ModelName"])
    group = client.call("describe_model_package_group", ModelPackageGroupName=flow.aws.name)
    arns = [endpoint["EndpointArn"], config["EndpointConfigArn"], model["ModelArn"], group["ModelPackageGroupArn"]]
    for arn in arns:
        tags = client.call("list_tags", ResourceArn=arn)["Tags"]
        assert {"Key": "scones:env", "Value": flow.aws.name} in tags, arn


def test_the_attempts_at_a_batch_end_before_their_execution() -> None:
    """An Express execution ends after five minutes, and with it what the last attempt would have said."""
    batch: Any = state_machine("batch.asl.json")
    task = batch["States"]["ClassifyBatches"]["ItemProcessor"]["States"]["ClassifyBatch"]
    (timeouts, others) = task["Retry"]
    assert timeouts["ErrorEquals"][0] == "States.Timeout"
    waits = others["MaxAttempts"] * others["MaxDelaySeconds"] + timeouts["IntervalSeconds"]
    assert (1 + timeouts["MaxAttempts"]) * task["TimeoutSeconds"] + waits < 300


def test_tracing_covers_every_state_machine_and_function_of_the_workflow() -> None:
    """One that is left out cuts the trace; each role may send its part."""
    machines = resources("AWS::StepFunctions::StateMachine")
    for machine in machines.values():
        assert machine["Properties"]["TracingConfiguration"] == {"Enabled": {"Fn::If": ["Traced", True, False]}}
    functions = [item["Properties"] for item in resources("AWS::Lambda::Function").values()]
    versioned = [item for item in functions if "RELEASE" in item["Environment"]["Variables"]]
    assert len(versioned) == 6
    for function in versioned:
        assert function["TracingConfig"] == {"Mode": {"Fn::If": ["Traced", "Active", "PassThrough"]}}
    senders = {grant.role for grant in grants() if grant.action == "xray:PutTraceSegments"}
    roles = [item["Role"]["Fn::GetAtt"][0] for item in versioned]
    assert senders == {*roles, "WorkflowRole", "BatchRole", "RetrainWorkflowRole"}
