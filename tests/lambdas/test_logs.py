"""Every structured log line about a photo has its execution's name, from the upload to the decision."""

import json
from collections.abc import Callable
from typing import Any

from access_keys import KEYS
from scones.aws.client import Client
from scones.pipeline import Pipeline
from tiny_model import plain_photo
from waiting import eventually

FUNCTIONS = ("serialize", "classify", "filter", "dispatch")


def lines(flow: Pipeline, function: str) -> list[dict[str, Any]]:
    """The lines of JSON that a function has logged."""
    logs, group = Client(flow.settings, "logs", KEYS), f"/aws/lambda/{flow.aws.name}-{function}"
    pages = logs.find_pages("filter_log_events", logGroupName=group)
    texts = [event["message"].strip() for page in pages for event in page["events"]]
    return [json.loads(text) for text in texts if text.startswith("{") and text.endswith("}")]


def lines_about(flow: Pipeline, wanted: Callable[[dict[str, Any]], bool], functions: tuple[str, ...]) -> dict[str, Any]:
    """The line of each function that is *wanted*; waits until all have logged it."""
    found: dict[str, Any] = {}

    def complete() -> bool:
        for function in functions:
            for line in filter(wanted, lines(flow, function)):
                found[function] = line
        return found.keys() == set(functions)

    assert eventually(complete)
    return found


def decision(flow: Pipeline, photo_id: str) -> dict[str, Any]:
    """The recorded decision about a photo that was sent once."""
    (found,) = [dict(item) for item in flow.aws.tables.decisions.query({"photo_id": photo_id}) if "outcome" in item]
    return found


def test_an_upload_can_be_followed_to_its_decision(flow: Pipeline) -> None:
    """EventBridge starts the execution; the same name is in four log lines and in the decisions table."""
    photo = plain_photo(219)
    flow.aws.bucket.put("incoming/followed.png", photo)
    sample = flow.upload("same.png", photo)
    found = lines_about(flow, lambda line: line.get("photo_id") == sample.sha256, FUNCTIONS)
    (execution,) = {line["execution"] for line in found.values()}
    assert execution
    assert decision(flow, sample.sha256)["execution"] == execution
    assert {line["event"] for line in found.values()} == set(FUNCTIONS)
    assert all(line["seconds"] >= 0 and "error" not in line for line in found.values())


def test_a_refused_photo_can_be_followed_too(flow: Pipeline) -> None:
    """The function that refused it names its error; the execution is that of the record."""
    sample = flow.upload("unsure.png", plain_photo(129))
    (run,) = flow.classify_samples([sample]).executions
    found = lines_about(flow, lambda line: line["execution"] == run.name, FUNCTIONS)
    assert found["filter"]["error"] == "THRESHOLD_CONFIDENCE_NOT_MET"
    assert decision(flow, sample.sha256)["execution"] == run.name
    flow.aws.bucket.put("asked/no-photo.png", b"no photo")
    broken = {"image_data": "", "s3_bucket": flow.aws.bucket.name, "s3_key": "asked/no-photo.png", "inferences": []}
    flow.aws.workflow.run(flow.aws.stack.find_output("WorkflowArn"), "no-photo", broken)
    found = lines_about(flow, lambda line: line["execution"] == "no-photo", ("serialize", "dispatch"))
    assert found["serialize"]["error"] == "UnreadablePhoto"
