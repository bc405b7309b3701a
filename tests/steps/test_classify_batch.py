"""Photos in bulk: every one accounted for, none asked twice."""

import io
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from arro3.io import read_parquet
from PIL import Image

from access_keys import KEYS
from conftest import deployed_tiny
from scones.aws.client import Client
from scones.aws.connection import Aws
from scones.batch.results import NoPhotos, RunFiles
from scones.cli.render import render
from scones.domain.decision import PHOTO_LIMIT_BYTES, Outcome
from scones.domain.progress import Silent
from scones.pipeline import Pipeline
from scones.steps.classify_batch import BatchRunResult, BatchTerms, PhotosNotGranted, classify_batch, open_batch
from scones_local.cloud import Cloud
from tiny_model import plain_photo

SURE, UNSURE = 200, 132


def noisy_jpeg() -> bytes:
    """A photo of some size that a JPEG can break off in."""
    buffer = io.BytesIO()
    pixels = np.random.default_rng(3).integers(0, 255, (300, 400, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, "JPEG", quality=80)
    return buffer.getvalue()


def put(aws: Aws, prefix: str, photos: dict[str, bytes]) -> str:
    """Put photos below a prefix; returns its URI."""
    for name, body in photos.items():
        aws.bucket.put(f"{prefix}{name}", body)
    return aws.bucket.uri(prefix)


def lines(aws: Aws, batch: BatchRunResult) -> list[dict[str, object]]:
    """The run's results, as they lie in the bucket."""
    body = aws.bucket.get(RunFiles(batch.run).prefix + "results.jsonl")
    return [json.loads(line) for line in body.splitlines()]


def asked_keys(aws: Aws, batch: BatchRunResult) -> list[str]:
    """The key of every line of every part."""
    parts = aws.bucket.get_all([item.key for item in aws.bucket.list(RunFiles(batch.run).parts)])
    return [json.loads(line)["key"] for part in parts for line in part.splitlines()]


def test_every_photo_is_accounted_for(flow: Pipeline) -> None:
    """Sure, unsure, no photo at all, and one that breaks off: each has one line with its outcome and its reason."""
    photos = {f"{n:03d}.png": plain_photo(SURE if n % 3 else UNSURE) for n in range(120)}
    photos |= {"letter.png": b"Dear Sir or Madam", "cut.jpg": noisy_jpeg()[:20_000], "whole.jpg": noisy_jpeg()}
    source = put(flow.aws, "asked/all/", photos)
    batch = flow.classify_batch(source)
    assert batch.photos == 123
    assert batch.counts == {
        **{outcome.value: 0 for outcome in Outcome},
        "classified": 80,
        "below_threshold": 41,
        "unreadable": 2,
    }
    found = {str(line["key"]).removeprefix("asked/all/"): line for line in lines(flow.aws, batch)}
    assert list(found) == sorted(photos)
    assert (found["001.png"]["outcome"], found["001.png"]["label"]) == ("classified", "motorcycle")
    assert found["000.png"]["error"] == "THRESHOLD_CONFIDENCE_NOT_MET"
    assert "is not a PNG" in str(found["letter.png"]["reason"])
    assert found["cut.jpg"]["error"] == "UnreadablePhoto"
    table = read_parquet(io.BytesIO(flow.aws.bucket.get(RunFiles(batch.run).prefix + "results.parquet"))).read_all()
    assert table.column("key").to_pylist() == [line["key"] for line in lines(flow.aws, batch)]
    assert table.column("probability_motorcycle").to_pylist()[1] == pytest.approx(found["001.png"]["confidence"])
    again = flow.classify_batch(source)
    assert (again.run, again.newly_classified, again.counts) == (batch.run, 0, batch.counts)
    assert sorted(asked_keys(flow.aws, batch)) == sorted(f"asked/all/{name}" for name in photos)


@pytest.fixture(scope="module")
def breaking(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """An environment whose model fails on every photo that is not black."""
    with deployed_tiny(cloud, tmp_path_factory.mktemp("breaking"), breaks=True) as own:
        yield own


def test_a_photo_on_which_the_model_fails_costs_no_other_its_answer(breaking: Pipeline) -> None:
    """Of sixty photos one is failed by name, and each of the others has its answer."""
    photos = {f"{n:02d}.png": plain_photo(0) for n in range(59)} | {"30.5.png": plain_photo(SURE)}
    batch = breaking.classify_batch(put(breaking.aws, "asked/one/", photos))
    assert (batch.counts["classified"], batch.counts["failed"]) == (59, 1)
    (failed,) = [line for line in lines(breaking.aws, batch) if line["outcome"] == "failed"]
    assert (failed["key"], failed["error"]) == ("asked/one/30.5.png", "EndpointUnavailable")
    assert "model_failed" in str(failed["reason"])


def test_a_model_that_fails_on_every_photo_leaves_them_to_the_next_run(breaking: Pipeline) -> None:
    """That is a fault of the model: no result is kept, so that the same command asks about them again."""
    source = put(breaking.aws, "asked/every/", {f"{n}.png": plain_photo(SURE) for n in range(3)})
    batch = breaking.classify_batch(source)
    assert (batch.counts["failed"], asked_keys(breaking.aws, batch)) == (3, [])
    assert all("the model failed on each photo" in line for line in batch.failed)


def test_a_large_object_is_refused_before_it_is_read(flow: Pipeline) -> None:
    """It would fill the function's memory, and take the whole batch with it."""
    photos = {f"{n}.png": plain_photo(SURE) for n in range(5)} | {"film.mp4": bytes(PHOTO_LIMIT_BYTES + 1)}
    batch = flow.classify_batch(put(flow.aws, "asked/large/", photos))
    assert (batch.counts["classified"], batch.counts["unreadable"]) == (5, 1)
    (refused,) = [line for line in lines(flow.aws, batch) if line["outcome"] == "unreadable"]
    assert "the limit is 6,291,456" in str(refused["reason"])


def test_a_photo_that_is_gone_fails_by_name(flow: Pipeline) -> None:
    """What was deleted between the listing and the reading is a line too."""
    aws, files = flow.aws, RunFiles("gone")
    put(aws, "asked/gone/", {"here.png": plain_photo(SURE)})
    items = [{"key": "asked/gone/here.png", "etag": "1"}, {"key": "asked/gone/away.png", "etag": "2"}]
    event = {"BatchInput": {"photos": aws.bucket.name, "bucket": aws.bucket.name, "parts": files.parts}, "Items": items}
    part = invoke(flow, event)["part"]
    here, away = (json.loads(line) for line in aws.bucket.get(part).splitlines())
    assert here["outcome"] == "classified"
    assert (away["outcome"], away["error"]) == ("failed", "NoSuchKey")


def invoke(flow: Pipeline, event: Mapping[str, object]) -> dict[str, Any]:
    """Call the batch function itself."""
    client = Client(flow.settings, "lambda", KEYS)
    reply = client.call("invoke", FunctionName=f"{flow.aws.name}-classify-batch", Payload=json.dumps(event))
    found: dict[str, Any] = json.loads(reply["Payload"].read())
    return found


def test_a_part_that_is_not_whole_is_done_again(flow: Pipeline) -> None:
    """A part with too few lines holds nothing, neither for the function nor for the summary."""
    source = put(flow.aws, "asked/half/", {f"{n}.png": plain_photo(SURE) for n in range(3)})
    batch = flow.classify_batch(source)
    (part,) = flow.aws.bucket.list(RunFiles(batch.run).parts)
    whole = flow.aws.bucket.get(part.key)
    flow.aws.bucket.put(part.key, whole[:-40])
    again = flow.classify_batch(source)
    assert (again.newly_classified, again.counts["classified"]) == (3, 3)
    assert flow.aws.bucket.get(part.key) == whole


def test_a_folder_is_uploaded_once_and_kept_alike(flow: Pipeline, tmp_path: Path) -> None:
    """Only new and changed photos go up, what left the folder leaves the prefix, and other photos are another run."""
    for n in range(4):
        (tmp_path / f"{n}.png").write_bytes(plain_photo(SURE))
    (tmp_path / "notes.txt").write_text("not a photo, and not sent")
    first = flow.classify_batch(str(tmp_path))
    assert (first.photos, first.newly_classified, first.failed) == (4, 4, ())
    (tmp_path / "0.png").unlink()
    (tmp_path / "4.png").write_bytes(plain_photo(20))
    second = flow.classify_batch(str(tmp_path))
    assert second.run != first.run
    assert [str(line["key"])[-5:] for line in lines(flow.aws, second)] == ["1.png", "2.png", "3.png", "4.png"]


def test_every_file_of_a_folder_has_a_result_or_a_reason(flow: Pipeline, tmp_path: Path) -> None:
    """Links are followed, content decides and not the extension, and what is meant to be a photo has a result."""
    elsewhere = tmp_path / "elsewhere"
    folder = tmp_path / "photos"
    for place in (elsewhere, folder / "__MACOSX"):
        place.mkdir(parents=True)
    (elsewhere / "linked.png").write_bytes(plain_photo(SURE))
    (folder / "linked").symlink_to(elsewhere)
    (folder / "loop").symlink_to(folder)
    for name in ("a.png", "no extension", "photo.backup", "__MACOSX/b.png", "._a.png"):
        (folder / name).write_bytes(plain_photo(SURE))
    for name in ("empty.jpg", "phone.heic", "notes.txt", "Thumbs.db", "caf\udce9.txt"):
        (folder / name).write_bytes(b"")
    os.mkfifo(folder / "pipe.png")
    (folder / "gone.png").symlink_to("nowhere")
    batch = flow.classify_batch(folder)
    found = {str(line["key"]).split("/", 2)[2]: (line["outcome"], line["reason"]) for line in lines(flow.aws, batch)}
    sure = ("classified", "")
    assert found == {
        "a.png": sure,
        "no extension": sure,
        "photo.backup": sure,
        "linked/linked.png": sure,
        "empty.jpg": ("unreadable", "is empty"),
        "phone.heic": ("unreadable", "is empty"),
        "pipe.png": ("unreadable", "is not a regular file"),
        "gone.png": ("unreadable", "cannot be read: No such file or directory"),
    }
    assert {item.name for item in batch.left_out} == {
        *("loop/", "__MACOSX/", "._a.png", "Thumbs.db", "notes.txt", "caf\\xe9.txt"),
    }
    assert (batch.photos, batch.counts["unreadable"], len(batch.unreadable)) == (8, 4, 4)
    summary = json.loads(flow.aws.bucket.get(RunFiles(batch.run).prefix + "summary.json"))
    assert len(summary["left_out"]) == len(batch.left_out)
    shown = render(batch)
    assert all(item.name in shown for item in batch.left_out)


def test_every_object_below_a_prefix_has_a_result_or_a_reason(flow: Pipeline) -> None:
    """By the rule of folders."""
    objects = {"a.png": plain_photo(SURE), "empty.png": b"", "._a.png": b"x", "__MACOSX/a.png": b"x", "folder/": b""}
    source = put(flow.aws, "asked/.hidden/odd/", objects)
    batch = flow.classify_batch(source)
    found = {str(line["key"]).rpartition("/")[2]: line["outcome"] for line in lines(flow.aws, batch)}
    assert found == {"a.png": "classified", "empty.png": "unreadable"}
    assert {item.name for item in batch.left_out} == {"._a.png", "__MACOSX/"}


def test_a_folder_of_broken_photos_has_their_results(flow: Pipeline, tmp_path: Path) -> None:
    """No execution is needed to say that a file is no photo."""
    (tmp_path / "a.png").write_text("no photo")
    batch = flow.classify_batch(tmp_path)
    assert [line["outcome"] for line in lines(flow.aws, batch)] == ["unreadable"]
    assert "none was classified" in render(batch)


def test_a_batch_whose_photos_all_failed_says_so(flow: Pipeline) -> None:
    """They were deleted meanwhile: nothing was classified, and nothing had a result already."""
    aws = flow.aws
    photos = open_batch(aws, put(aws, "asked/vanish/", {"a.png": plain_photo(SURE)}), "", Silent())
    aws.bucket.remove([photo.key for photo in photos.photos])
    batch = classify_batch(aws, photos, BatchTerms("m", flow.settings.classes, 0.8, 1), Silent())
    assert (batch.counts["failed"], batch.photos) == (1, 1)
    again = classify_batch(aws, photos, BatchTerms("m", flow.settings.classes, 0.8, 1), Silent())
    for result in (batch, again):
        assert (result.newly_classified, result.already_classified) == (0, 0)
        assert "already" not in render(result)
        assert "none was classified" in render(result)
        assert "failed: asked/vanish/a.png: NoSuchKey" in render(result)
    assert "already" in render(replace(batch, already_classified=1))


def test_nothing_to_classify_is_said(flow: Pipeline, tmp_path: Path) -> None:
    """An empty prefix and an empty folder are errors of one line."""
    for source in (flow.aws.bucket.uri("asked/none/"), str(tmp_path)):
        with pytest.raises(NoPhotos, match="has no photos"):
            flow.classify_batch(source)


@pytest.mark.parametrize("source", ["s3://another-account/photos/", "s3://{own}/", "s3://{own}/models/"])
def test_photos_must_lie_where_the_functions_may_read(flow: Pipeline, source: str) -> None:
    """The roles read two prefixes of the environment's bucket, and the bucket that the settings name."""
    with pytest.raises(PhotosNotGranted, match="photo_bucket"):
        flow.classify_batch(source.format(own=flow.aws.bucket.name))


def test_the_drift_monitor_passes_a_batch_over(own_flow: Pipeline) -> None:
    """A batch is not traffic: none of its photos is counted, and no record of it is called malformed."""
    own_flow.classify_batch(put(own_flow.aws, "asked/m/", {f"{n}.png": plain_photo(SURE) for n in range(30)}))
    own_flow.classify_samples([own_flow.upload("one.png", plain_photo(SURE))])
    found = own_flow.monitor(at_least=1)
    assert (found.photos, found.malformed) == (1, ())
