import csv
import io
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from access_keys import KEYS
from scones.aws.client import Client
from scones.cli.render import render
from scones.domain.decision import Outcome
from scones.pipeline import Pipeline
from scones.steps.classify import ClassifiedPhoto, NoSuchPhoto
from tiny_model import plain_photo, probability


def classify(flow: Pipeline, photo: bytes, name: str = "photo.png") -> ClassifiedPhoto:
    """Send one photo through the workflow."""
    return flow.classify_samples([flow.upload(name, photo)]).executions[0]


def test_a_sure_photo_is_named_with_its_probabilities(flow: Pipeline) -> None:
    """The result carries the likeliest class, its confidence, and every probability in class order."""
    execution = classify(flow, plain_photo(200))
    assert (execution.outcome, execution.label) == (Outcome.CLASSIFIED, "motorcycle")
    assert execution.confidence == pytest.approx(probability(200), abs=1e-5)
    assert execution.probabilities == pytest.approx((1 - probability(200), probability(200)), abs=1e-5)
    assert execution.started <= execution.stopped


def test_an_unsure_photo_fails_with_the_name_that_a_catch_can_hold(flow: Pipeline) -> None:
    """Below the threshold the execution fails with THRESHOLD_CONFIDENCE_NOT_MET, and its answer is not lost."""
    execution = classify(flow, plain_photo(132))
    assert (execution.outcome, execution.error) == (Outcome.BELOW_THRESHOLD, "THRESHOLD_CONFIDENCE_NOT_MET")
    assert execution.label == "motorcycle"
    assert execution.confidence == pytest.approx(probability(132), abs=1e-5)


def test_what_is_no_photo_fails_by_name(flow: Pipeline) -> None:
    """UnreadablePhoto is an error of its own, told apart from a model that is unsure."""
    execution = classify(flow, b"a letter, not a photo")
    assert (execution.outcome, execution.error) == (Outcome.UNREADABLE, "UnreadablePhoto")
    assert "is not a PNG" in execution.cause


def test_a_truncated_photo_fails_by_name(flow: Pipeline) -> None:
    """The header is good, so only the endpoint can tell."""
    execution = classify(flow, _phone_photo()[:100_000])
    assert (execution.outcome, execution.error) == (Outcome.UNREADABLE, "UnreadablePhoto")


def test_a_phone_sized_photo_passes_by_reference(flow: Pipeline) -> None:
    """More than Step Functions' 262,144 bytes of state: the photo stays in S3."""
    photo = _phone_photo()
    assert len(photo) > 1_000_000
    assert classify(flow, photo, "phone.jpg").outcome in (Outcome.CLASSIFIED, Outcome.BELOW_THRESHOLD)


def test_a_missing_photo_fails_and_is_not_lost_in_silence(flow: Pipeline) -> None:
    """An event for an object that is gone ends as a failure with S3's own words."""
    sample = flow.upload("soon-gone.png", plain_photo(200))
    flow.aws.bucket._client.call("delete_object", Bucket=flow.aws.bucket.name, Key=sample.key)
    execution = flow.classify_samples([sample]).executions[0]
    assert execution.outcome is Outcome.FAILED
    assert "NoSuchKey" in execution.cause or "NoSuchKey" in execution.error


def test_a_failure_sends_a_notice_that_names_error_and_photo(flow: Pipeline) -> None:
    """Whoever subscribes to the failure topic learns which photo was not routed, and why; the error can be filtered."""
    settings, topic = flow.settings, flow.aws.stack.find_output("FailureTopicArn")
    keys = KEYS
    sns, sqs = Client(settings, "sns", keys), Client(settings, "sqs", keys)
    queue = sqs.call("create_queue", QueueName=f"{settings.env}-inbox")["QueueUrl"]
    wanted = ["QueueArn"]
    arn = sqs.call("get_queue_attributes", QueueUrl=queue, AttributeNames=wanted)["Attributes"]["QueueArn"]
    sns.call("subscribe", TopicArn=topic, Protocol="sqs", Endpoint=arn)
    sample = flow.upload("soon-gone.png", plain_photo(201))
    flow.aws.bucket._client.call("delete_object", Bucket=flow.aws.bucket.name, Key=sample.key)
    flow.classify_samples([sample])
    reply = sqs.call("receive_message", QueueUrl=queue, WaitTimeSeconds=20)
    envelope = json.loads(reply["Messages"][0]["Body"])
    notice = json.loads(envelope["Message"])
    assert (notice["error"], notice["input"]["s3_key"]) == ("NoSuchKey", sample.key)
    assert envelope["MessageAttributes"]["error"]["Value"] == "NoSuchKey"
    sqs.call("delete_queue", QueueUrl=queue)


def test_many_photos_keep_their_order(flow: Pipeline) -> None:
    """Executions run side by side; their results stand in the order of the photos."""
    samples = [flow.upload(f"{level}.png", plain_photo(level)) for level in range(20, 240, 10)]
    executions = flow.classify_samples(samples).executions
    assert [execution.key for execution in executions] == [sample.key for sample in samples]
    assert [execution.label for execution in executions][:5] == ["bicycle"] * 5


def nothing(_path: Path) -> None:
    """Make no file."""


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty.png": (lambda path: path.write_bytes(b""), "is empty"),
    "letter.jpg": (lambda path: path.write_text("Dear Sir"), "is not a PNG"),
    "gone.png": (nothing, "cannot be read (No such file or directory)"),
    "itself.png": (lambda path: path.symlink_to(path.name), "cannot be read (Too many levels of symbolic links)"),
    "folder": (lambda path: path.mkdir(), "is a folder"),
    "caf\udce9.png": (lambda path: path.write_text("no photo"), "is not a PNG"),
    "under/no/folder.png": (nothing, "cannot be read (No such file or directory)"),
    "n" * 300: (nothing, "cannot be read (File name too long)"),
    "nul\0.png": (nothing, "cannot be read (embedded null byte)"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_one_bad_file_fails_alone(flow: Pipeline, tmp_path: Path, name: str) -> None:
    """The others are classified; each has one entry, in their order, and a bad one says why."""
    make, reason = BROKEN[name]
    make(tmp_path / name)
    for level in (20, 200):
        (tmp_path / f"{level}.png").write_bytes(plain_photo(level))
    first, bad, last = flow.classify([tmp_path / "20.png", tmp_path / name, tmp_path / "200.png"]).executions
    assert (first.label, last.label) == ("bicycle", "motorcycle")
    assert (bad.outcome, bad.error, bad.name) == (Outcome.UNREADABLE, "UnreadablePhoto", "")
    assert reason in bad.cause
    with pytest.raises(NoSuchPhoto, match=re.escape(reason)):
        flow.classify([tmp_path / name])


@pytest.mark.parametrize(
    "name", ["caf\udce9.png", "a\nb\x1b[2J.png", "\udcff" * 200 + ".png", "\u202e\u2028.png", "é" * 120]
)
def test_a_photo_of_any_name_is_classified(flow: Pipeline, tmp_path: Path, name: str) -> None:
    """Its key has escapes in place of what is no text, and fits into S3."""
    (tmp_path / name).write_bytes(plain_photo(200))
    (found,) = flow.classify([tmp_path / name]).executions
    assert found.label == "motorcycle"
    assert found.key.encode()


def test_each_row_and_line_names_its_file_as_the_caller_did(flow: Pipeline, tmp_path: Path) -> None:
    """Also where two files have the same name and content, and so the same key; one that is no photo has a row."""
    named = [tmp_path / "x" / "1.png", tmp_path / "y" / "1.png", tmp_path / "bad.png"]
    for path in named:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(plain_photo(200) if path.name == "1.png" else b"no photo")
    found = flow.classify(named, output=tmp_path / "two.csv")
    with (tmp_path / "two.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    names = list(map(str, named))
    assert [row["photo"] for row in rows] == [item.photo for item in found.executions] == names
    assert rows[0]["key"] == rows[1]["key"]
    assert [line.partition(": ")[0] for line in render(found).splitlines()[:3]] == names


def _phone_photo() -> bytes:
    rng = np.random.default_rng(3)
    buffer = io.BytesIO()
    Image.fromarray(rng.integers(0, 255, (1500, 2000, 3), dtype=np.uint8)).save(buffer, "JPEG", quality=80)
    return buffer.getvalue()
