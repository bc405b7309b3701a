"""FilterLogEvents: patterns of terms, both orders, and pages that together have each event once."""

import time
from typing import Any

import pytest
from botocore.exceptions import ClientError

from aws_calls import fresh
from scones_local.logs import MAX_PAGE_BYTES, pattern


@pytest.fixture
def group(clients: Any) -> str:
    """A log group with two streams, whose 25 events alternate."""
    name, now = f"/scones/{fresh('logs')}", int(time.time() * 1000)
    clients.logs.create_log_group(logGroupName=name)
    for stream in ("job-a/1", "job-b/1"):
        clients.logs.create_log_stream(logGroupName=name, logStreamName=stream)
        events = [
            {"timestamp": now + n, "message": f"{stream} number {n}"} for n in range(25) if n % 2 == (stream[4] == "b")
        ]
        clients.logs.put_log_events(logGroupName=name, logStreamName=stream, logEvents=events)
    return name


def messages(clients: Any, **request: Any) -> list[str]:
    """The messages of all pages."""
    pages = clients.logs.get_paginator("filter_log_events").paginate(**request)
    return [event["message"] for page in pages for event in page["events"]]


@pytest.mark.parametrize("limit", [1, 7, 25, 10_000])
def test_pages_have_each_event_once_in_either_order(clients: Any, group: str, limit: int) -> None:
    """Whatever their size."""
    oldest_first = [f"job-{'ab'[n % 2]}/1 number {n}" for n in range(25)]
    assert messages(clients, logGroupName=group, limit=limit) == oldest_first
    assert messages(clients, logGroupName=group, limit=limit, startFromHead=False) == oldest_first[::-1]


def test_an_event_written_between_two_pages_moves_none(clients: Any, group: str) -> None:
    """The newest first: the second page continues where the first ended."""
    where = {"logGroupName": group, "startFromHead": False, "limit": 5}
    first = clients.logs.filter_log_events(**where)
    later = [{"timestamp": int(time.time() * 1000) + 60_000, "message": "later"}]
    clients.logs.put_log_events(logGroupName=group, logStreamName="job-a/1", logEvents=later)
    second = clients.logs.filter_log_events(**where, nextToken=first["nextToken"])
    numbers = [int(event["message"].split()[-1]) for event in first["events"] + second["events"]]
    assert numbers == list(range(24, 14, -1))
    assert all(event["eventId"] for event in first["events"])


def test_streams_and_times_are_chosen(clients: Any, group: str) -> None:
    """By prefix or by name, not both; both ends of the time belong to it."""
    assert len(messages(clients, logGroupName=group, logStreamNamePrefix="job-b")) == 12
    assert len(messages(clients, logGroupName=group, logStreamNames=["job-a/1"])) == 13
    event = clients.logs.filter_log_events(logGroupName=group, limit=1)["events"][0]
    assert messages(clients, logGroupName=group, endTime=event["timestamp"]) == [event["message"]]
    with pytest.raises(ClientError, match="InvalidParameterException"):
        messages(clients, logGroupName=group, logStreamNames=["x"], logStreamNamePrefix="y")
    with pytest.raises(ClientError, match="InvalidParameterException"):
        clients.logs.filter_log_events(logGroupName=group, nextToken="nonsense")


def test_a_page_has_at_most_a_megabyte(clients: Any, group: str) -> None:
    """As on AWS; the rest is on the next."""
    size, now = 200_000, int(time.time() * 1000)
    for n in range(6):
        event = {"timestamp": now + n, "message": f"{n}" * size}
        clients.logs.put_log_events(logGroupName=group, logStreamName="job-a/1", logEvents=[event])
    page = clients.logs.filter_log_events(logGroupName=group, logStreamNamePrefix="job-a", startFromHead=False)
    assert sum(len(event["message"]) for event in page["events"]) <= MAX_PAGE_BYTES
    assert page["nextToken"]


@pytest.mark.parametrize(
    ("text", "message", "found"),
    [
        ("", "anything", True),
        ("ERROR", "an ERROR here", True),
        ("ERROR", "an error here", False),
        ("ERROR now", "now an ERROR", True),
        ("ERROR now", "an ERROR", False),
        ('"a b"', "x a b y", True),
        ('"a b"', "a x b", False),
        (r'"say \"a\""', 'they say "a"', True),
        ("?ERROR ?WARN", "WARN", True),
        ("?ERROR ?WARN", "INFO", False),
        ('?"timed out" ?x', "it timed out", True),
        ("ERROR ?WARN", "ERROR", True),
        ("ERROR -late", "ERROR late", False),
        ("ERROR -late", "ERROR", True),
        ('"0.5-a"', "x 0.5-a", True),
    ],
)
def test_terms_match_as_aws_documents_them(text: str, message: str, found: bool) -> None:
    """Case counts; every term, none after -, any after ?."""
    assert pattern(text)(message) is found
