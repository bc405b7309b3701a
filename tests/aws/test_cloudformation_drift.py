"""What CloudFormation found of a stack, and how it is said."""

from typing import Any

from scones.aws.cloudformation import StackDrift, summarize_drift


def looked(status: str, *paths: str) -> dict[str, Any]:
    """One of DescribeStackResourceDrifts' entries."""
    differences = [{"PropertyPath": path, "ExpectedValue": "1", "ActualValue": "2"} for path in paths]
    return {
        "StackResourceDriftStatus": status,
        "LogicalResourceId": status.title(),
        "ResourceType": "AWS::SNS::Topic",
        "PropertyDifferences": differences,
    }


def test_what_could_not_be_compared_does_not_count_as_checked() -> None:
    """CloudFormation tries some resources in vain: nobody may read "none changed" out of that."""
    unknown = [looked(status) for status in ("NOT_CHECKED", "UNKNOWN", "UNSUPPORTED")]
    found = summarize_drift([looked("IN_SYNC"), *unknown], resources=9)
    assert found == StackDrift(resources=9, checked=1)
    assert str(found) == "none, in 1 of 9 resources; 8 cannot be checked here"


def test_what_changed_is_named_with_its_properties() -> None:
    """By the name in the template, so that it can be found there."""
    found = summarize_drift([looked("MODIFIED", "/DisplayName", "/Tags"), looked("DELETED")], resources=2)
    topic = "(AWS::SNS::Topic)"
    assert found.changed == (f"modified Modified {topic} at /DisplayName, /Tags", f"deleted Deleted {topic}")
