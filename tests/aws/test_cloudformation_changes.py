"""What a change set says, and what of it costs data."""

from typing import Any

import pytest

from scones.aws.cloudformation import ChangeAction, ChangeSet, ResourceChange, parse_change


def entry(action: str, name: str, kind: str, **more: Any) -> dict[str, Any]:
    """One of DescribeChangeSet's `Changes`."""
    return {
        "Type": "Resource",
        "ResourceChange": {"Action": action, "LogicalResourceId": name, "ResourceType": kind, **more},
    }


@pytest.mark.parametrize(
    ("action", "replacement", "expected"),
    [
        ("Add", None, ChangeAction.ADD),
        ("Remove", None, ChangeAction.REMOVE),
        ("Modify", "False", ChangeAction.MODIFY),
        ("Modify", "True", ChangeAction.REPLACE),
        ("Modify", "Conditional", ChangeAction.MAY_REPLACE),
        ("Dynamic", None, ChangeAction.MODIFY),
    ],
)
def test_each_entry_is_one_action(action: str, replacement: str | None, expected: ChangeAction) -> None:
    """A replacement is no mere modification, and neither is one that may happen."""
    more = {"Replacement": replacement} if replacement else {}
    assert parse_change(entry(action, "Bucket", "AWS::S3::Bucket", **more)).action is expected


@pytest.mark.parametrize("kind", ["AWS::S3::Bucket", "AWS::DynamoDB::Table"])
@pytest.mark.parametrize("action", [ChangeAction.REPLACE, ChangeAction.MAY_REPLACE, ChangeAction.REMOVE])
def test_what_holds_data_is_not_lost_by_chance(kind: str, action: ChangeAction) -> None:
    """A bucket or a table that is replaced or removed is named; the same of a topic is not."""
    found = ChangeSet(
        "c",
        new=False,
        changes=(ResourceChange(action, "Here", kind), ResourceChange(action, "There", "AWS::SNS::Topic")),
    )
    assert found.losses() == [f"{action} {kind} Here"]


def test_what_is_added_or_modified_loses_nothing() -> None:
    """The usual update."""
    changes = (
        ResourceChange(ChangeAction.ADD, "A", "AWS::S3::Bucket"),
        ResourceChange(ChangeAction.MODIFY, "B", "AWS::DynamoDB::Table"),
    )
    assert ChangeSet("c", new=True, changes=changes).losses() == []


def test_the_table_counts_and_names() -> None:
    """What is added by kind; everything else one by one, with what changes of it."""
    details = [{"Target": {"Attribute": "Properties", "Name": "Code"}}, {"Target": {"Attribute": "Tags"}}]
    added = [entry("Add", name, "AWS::SNS::Topic") for name in ("A", "B")]
    function = entry("Modify", "F", "AWS::Lambda::Function", Replacement="False", Details=details)
    lines = list(ChangeSet("c", new=False, changes=tuple(map(parse_change, [*added, function]))).lines())
    assert lines[0] == "changes: 2 to add, 1 to modify"
    assert lines[1].split() == ["add", "AWS::SNS::Topic", "x", "2"]
    assert lines[2].split(maxsplit=2) == ["modify", "AWS::Lambda::Function", "F (Code, Tags)"]
