"""Batches: a run is found again by its photos, and every photo has exactly one result."""

import csv
import io
import json
from pathlib import Path

import pytest
from arro3.io import read_parquet
from hypothesis import given
from hypothesis import strategies as st

from scones.batch.results import (
    Photo,
    Result,
    RunFiles,
    account,
    columns,
    count,
    failures,
    manifest_lines,
    read_part,
    result_lines,
    run_name,
    to_parquet,
    write_results,
)
from scones.domain.decision import Outcome
from scones.domain.text import text_of_cell

keys = st.lists(st.text(min_size=1), unique=True)


def photos(names: list[str]) -> list[Photo]:
    """Photos of those keys."""
    return [Photo(name, "tag") for name in names]


@given(keys, st.sets(st.integers(0, 20)), st.sets(st.integers(0, 20)))
def test_every_photo_has_exactly_one_result(names: list[str], done: set[int], failed: set[int]) -> None:
    """Whatever was done, failed or never reached: as many results as photos, in their order, done before failed."""
    did = {name: Result(name, Outcome.CLASSIFIED) for at, name in enumerate(names) if at in done}
    bad = {name: Result(name, Outcome.FAILED, error="X") for at, name in enumerate(names) if at in failed}
    results = account(photos(names), did, bad, "ABORTED")
    assert [result.key for result in results] == names
    assert sum(count(results).values()) == len(names)
    assert count(results)["classified"] == len(did)
    unreached = set(names) - set(did) - set(bad)
    assert {result.key for result in results if result.error == "ABORTED"} == unreached


def test_photos_of_a_failed_batch_have_its_error_and_reason() -> None:
    """Where the map run's file has neither, the reason is empty."""
    batch = json.dumps({"Items": [{"key": "a"}, {"key": "b"}]})
    body = json.dumps([{"Input": batch, "Error": "Boom", "Cause": "it broke"}, {"Input": batch}]).encode()
    found = failures(body)
    assert found[:2] == [Result(key, Outcome.FAILED, error="Boom", reason="it broke") for key in ("a", "b")]
    assert found[2:] == [Result(key, Outcome.FAILED, error="Unknown", reason="") for key in ("a", "b")]


def test_a_photo_that_no_batch_reached_says_what_to_do() -> None:
    """The same command continues the run."""
    (found,) = account(photos(["a"]), {}, {}, "ABORTED")
    assert (found.outcome, found.error) == (Outcome.FAILED, "ABORTED")
    assert found.reason == "no batch reached it; run the same command again"


@given(keys)
def test_a_manifest_has_one_line_a_photo(names: list[str]) -> None:
    """Whatever characters a key holds, no reader finds more or fewer lines."""
    lines = manifest_lines(photos(names)).decode().splitlines()
    assert [json.loads(line)["key"] for line in lines] == names


def test_a_run_is_named_by_its_photos_and_terms() -> None:
    """The same give the same name; another photo, content, bucket or threshold gives another."""
    name = run_name("b", photos(["1", "2"]), ("model", 0.8))
    assert name == run_name("b", iter(photos(["1", "2"])), ("model", 0.8))
    others = {
        run_name("c", photos(["1", "2"]), ("model", 0.8)),
        run_name("b", photos(["1"]), ("model", 0.8)),
        run_name("b", [Photo("1", "tag"), Photo("2", "new")], ("model", 0.8)),
        run_name("b", photos(["1", "2"]), ("model", 0.7)),
    }
    assert len(others - {name}) == 4


def test_a_part_that_breaks_off_holds_nothing() -> None:
    """Its name tells how many lines it must have."""
    whole = result_lines([Result("a", Outcome.CLASSIFIED, "bicycle", 0.9, (0.9, 0.1)), Result("b", Outcome.UNREADABLE)])
    assert [result.key for result in read_part("x/abc-2.jsonl", whole)] == ["a", "b"]
    assert read_part("x/abc-2.jsonl", whole[:-1]) == []
    assert read_part("x/abc-2.jsonl", b"") == []


@pytest.mark.parametrize(
    ("cause", "reason"),
    [('{"errorMessage": "it is gone"}', "it is gone"), ("plain words", "plain words"), ("[1]", "[1]")],
)
def test_a_failed_batch_names_its_photos(cause: str, reason: str) -> None:
    """Each photo of it failed by the child's error, in the error's own words."""
    entry = {
        "Input": json.dumps({"Items": [{"key": "a"}, {"key": "b"}]}),
        "Error": "EndpointUnavailable",
        "Cause": cause,
    }
    found = failures(json.dumps([entry]).encode())
    assert [(result.key, result.error, result.reason) for result in found] == [
        ("a", "EndpointUnavailable", reason),
        ("b", "EndpointUnavailable", reason),
    ]


def test_columns_are_as_long_as_the_results() -> None:
    """A photo without an answer has no number in the columns of probabilities."""
    found = columns([Result("a", Outcome.CLASSIFIED, "x", 0.9, (0.9, 0.1)), Result("b", Outcome.FAILED)], ("x", "y"))
    assert found["probability_y"] == ("number", [0.1, None])
    assert found["outcome"] == ("text", ["classified", "failed"])
    assert {len(values) for _, values in found.values()} == {2}


def test_attempts_are_listed_in_their_order() -> None:
    """Numbers of four digits sort as text."""
    files = RunFiles("r")
    assert files.manifest(2) < files.manifest(10)
    assert files.manifest(2).startswith(files.manifests)
    assert files.outcomes(2).startswith(files.prefix)


def test_text_and_numbers_come_back() -> None:
    """Missing numbers stay missing, and so do empty tables' columns."""
    body = to_parquet({"key": ("text", ["a", "ü"]), "confidence": ("number", [0.5, None])})
    table = read_parquet(io.BytesIO(body)).read_all()
    assert table.column("key").to_pylist() == ["a", "ü"]
    assert table.column("confidence").to_pylist() == [0.5, None]


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@x", "\t=1", "photo.png", "a,b", 'a"b', "ünï.png"])
def test_no_cell_of_a_table_of_results_is_a_formula(tmp_path: Path, name: str) -> None:
    """Whatever a photo, a class or an error is called, it can be read back."""
    path = tmp_path / "deep" / "results.csv"
    write_results(
        path, [Result(name, Outcome.FAILED, error=name), Result("b", Outcome.CLASSIFIED, name, 0.9, (0.9,))], [name]
    )
    with path.open(encoding="utf-8", newline="") as file:
        header, failed, good = list(csv.reader(file))
    assert not [cell for cell in (*header, *failed, *good) if cell[:1] in tuple("=+-@\t\r")]
    assert text_of_cell(failed[0]) == text_of_cell(good[header.index("label")]) == name
    assert failed[header.index("confidence")] == ""
