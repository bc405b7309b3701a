"""The cursor: each record counts once, whatever comes late, twice, half written or out of time; and it stays small."""

import json
from dataclasses import asdict, replace

from hypothesis import given
from hypothesis import strategies as st

from scones.aws.s3 import S3Object
from scones.monitoring.capture.cursor import (
    DAY_SECONDS,
    MARGIN_SECONDS,
    MAX_FULL_LISTING_FILES,
    CaptureCursor,
    CaptureProgress,
    is_capture,
)

PREFIX = "capture/e/AllTraffic/"
NOON = 1_790_000_000.0


def a_file(name: str, modified: float = NOON, etag: str = "1") -> S3Object:
    """A capture file."""
    return S3Object(f"{PREFIX}2026/11/23/12/{name}.jsonl", 100, etag, modified)


def run(cursor: CaptureCursor, files: list[S3Object], *, complete: bool = True) -> tuple[list[S3Object], CaptureCursor]:
    """One whole run: the files that it reads, and the cursor after it."""
    reading = CaptureProgress(cursor)
    chosen = reading.choose(files, complete=complete)
    for file in chosen:
        reading.done(file)
    return chosen, reading.cursor(finished=True)


def test_a_file_is_read_once() -> None:
    """The second run finds nothing new, and the third only what came since."""
    files = [a_file("a"), a_file("b")]
    chosen, cursor = run(CaptureCursor(), files)
    assert chosen == files
    assert run(cursor, files)[0] == []
    assert run(cursor, [*files, a_file("c", NOON + 5)])[0] == [a_file("c", NOON + 5)]


def test_a_file_that_is_written_again_is_read_again() -> None:
    """More in it means another name of its content."""
    cursor = run(CaptureCursor(), [a_file("a")])[1]
    grown = a_file("a", NOON + 60, etag="2")
    assert run(cursor, [grown])[0] == [grown]


def test_a_late_file_in_a_folder_long_past_is_read() -> None:
    """What counts is when S3 took it, not the hour that its folder names."""
    cursor = run(CaptureCursor(), [a_file("a")])[1]
    late = S3Object(f"{PREFIX}2025/01/01/00/late.jsonl", 10, "9", NOON + 30)
    assert run(cursor, [a_file("a"), late])[0] == [late]


def test_a_folder_of_the_future_does_not_hide_the_present() -> None:
    """A clock that jumped ahead leaves one odd folder; what comes after it in time is read as always."""
    odd = S3Object(f"{PREFIX}2099/01/01/00/odd.jsonl", 10, "9", NOON)
    cursor = run(CaptureCursor(), [odd])[1]
    assert run(cursor, [odd, a_file("b", NOON + 1)])[0] == [a_file("b", NOON + 1)]


def test_an_event_counts_once_whichever_file_it_comes_in() -> None:
    """Within a run and between two."""
    reading = CaptureProgress(CaptureCursor())
    assert [reading.is_new("e1"), reading.is_new("e1"), reading.is_new("e2")] == [True, False, True]
    reading.done(a_file("a"))
    again = CaptureProgress(reading.cursor(finished=True))
    assert [again.is_new("e1"), again.is_new("e3")] == [False, True]


def test_events_are_remembered_for_a_day_and_then_forgotten() -> None:
    """Twice a day's events are the most that is kept."""
    cursor = CaptureCursor()
    sizes = []
    for day in range(6):
        reading = CaptureProgress(cursor)
        (file,) = reading.choose([a_file(f"f{day}", NOON + day * (DAY_SECONDS + 1))], complete=True)
        for number in range(100):
            assert reading.is_new(f"{day} {number}")
        reading.done(file)
        cursor = reading.cursor(finished=True)
        assert not CaptureProgress(cursor).is_new(f"{day} 99")
        sizes.append(len(json.dumps(asdict(cursor))))
    assert max(sizes) == sizes[1]


def test_years_of_hours_leave_a_small_cursor() -> None:
    """One file an hour for ten years: the cursor keeps the last hour's, under a kilobyte."""
    files = [a_file(f"{hour}", NOON + 3600 * hour) for hour in range(24 * 365)]
    cursor = run(CaptureCursor(), files)[1]
    assert len(cursor.read) == 2
    assert len(json.dumps(asdict(cursor))) < 1000


def test_what_one_run_leaves_the_next_one_reads() -> None:
    """A run that ran out of time has read some files; the rest is neither lost nor are those read again."""
    files = [a_file(name, NOON + number) for number, name in enumerate("abcd")]
    reading = CaptureProgress(CaptureCursor())
    chosen = reading.choose(files, complete=True)
    for file in chosen[:2]:
        reading.done(file)
    rest, cursor = run(reading.cursor(finished=False), files)
    assert rest == files[2:]
    assert run(cursor, files)[0] == []


def test_a_large_capture_is_listed_from_yesterday_and_in_full_once_a_day() -> None:
    """Few files are always listed in full."""
    small = CaptureCursor(until=NOON, listed=MAX_FULL_LISTING_FILES)
    large = replace(small, listed=MAX_FULL_LISTING_FILES + 1)
    assert small.start_after(PREFIX) == ""
    assert large.start_after(PREFIX) == f"{PREFIX}2026/09/20/14/"
    assert replace(large, read={"x": NOON + DAY_SECONDS + 1}).start_after(PREFIX) == ""


def test_between_two_complete_listings_nothing_is_lost_or_read_twice() -> None:
    """A partial listing does not advance the cursor; files that it did not show are found by the complete one."""
    cursor = run(CaptureCursor(), [a_file("a")])[1]
    newer, hidden = a_file("b", NOON + 2 * MARGIN_SECONDS), a_file("h", NOON + MARGIN_SECONDS)
    chosen, cursor = run(cursor, [newer], complete=False)
    assert chosen == [newer]
    assert run(cursor, [a_file("a"), newer, hidden])[0] == [hidden]


def test_only_sagemaker_s_layout_is_a_capture() -> None:
    """Anything else below the prefix is no capture file."""
    assert is_capture(f"{PREFIX}2026/11/23/12/00-00-001-x.jsonl", PREFIX)
    for key in ("2026/11/23/12/x.json", "2026/11/23/x.jsonl", "x.jsonl", "2026/11/23/12/a/x.jsonl"):
        assert not is_capture(PREFIX + key, PREFIX)
    assert not is_capture("capture/e2/AllTraffic/2026/11/23/12/x.jsonl", PREFIX)


@given(st.lists(st.tuples(st.integers(0, 5), st.floats(0, 1800)), max_size=30))
def test_each_file_is_read_once_in_any_order_of_arrival(arrivals: list[tuple[int, float]]) -> None:
    """Files may come to S3 up to the margin out of order, spread over any number of runs."""
    cursor, known, read, now = CaptureCursor(), [], [], NOON
    for number, (runs, delay) in enumerate(arrivals):
        now += 600
        known.append(a_file(str(number), now - delay))
        if runs:
            chosen, cursor = run(cursor, known)
            read += chosen
    read += run(cursor, known)[0]
    assert sorted(read, key=str) == sorted(known, key=str)
