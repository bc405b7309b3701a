"""A stream of events: what is planned, and what becomes of each."""

import math
from collections import Counter
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scones.data.dataset import Sample
from scones.dispatch.order_book import DispatchStatus
from scones.domain.decision import Outcome
from scones.domain.progress import Silent
from scones.pipeline import Pipeline
from scones.steps.simulate import BadStream, EventKind, PhotoEvent, Stream, plan_events, simulate
from scones.steps.up import StackOutputs
from tiny_model import plain_photo

SAMPLES = [Sample(f"data/{number}.png", "bicycle", "test", str(number)) for number in range(7)]
shares = st.floats(0, 0.33)


@given(st.integers(1, 60), shares, shares, shares, st.integers(0, 9))
@settings(max_examples=40)
def test_a_plan_has_as_many_events_as_asked_and_duplicates_follow_their_originals(
    count: int, duplicates: float, corrupt: float, shifted: float, seed: int
) -> None:
    """Each original comes once; a duplicate shows the same photo of the same courier as an earlier event."""
    stream = Stream(count, 0, duplicates, corrupt, shifted)
    events = plan_events(SAMPLES, stream, seed)
    assert len(events) == count
    assert events == plan_events(SAMPLES, stream, seed)
    seen: dict[int, PhotoEvent] = {}
    for event in events:
        if event.kind is EventKind.DUPLICATE:
            original = seen[event.number]
            assert (event.sample, event.shape, event.place) == (original.sample, original.shape, original.place)
        else:
            assert event.number not in seen
            seen[event.number] = event


def test_troubles_come_in_their_shares() -> None:
    """Five in a hundred twice, two broken, ten shifted."""
    kinds = Counter(event.kind for event in plan_events(SAMPLES, Stream(4000), 0))
    for kind, share in ((EventKind.DUPLICATE, 0.05), (EventKind.CORRUPT, 0.02), (EventKind.SHIFTED, 0.1)):
        assert kinds[kind] / 4000 == pytest.approx(share, abs=0.015)


def test_a_stream_that_cannot_be_is_refused() -> None:
    """More troubles than events, or nothing to send."""
    with pytest.raises(BadStream, match="together they are 1 at most"):
        Stream(duplicates=0.5, corrupt=0.4, shifted=0.2)
    with pytest.raises(BadStream, match="run: scones stage"):
        plan_events([], Stream(), 0)


SHARES = ("duplicates", "corrupt", "shifted")


@pytest.mark.parametrize("names", [names for count in (1, 2, 3) for names in combinations(SHARES, count)])
@pytest.mark.parametrize("total", [0.0, 0.3, 0.9, 0.95, 1.0])
def test_shares_that_are_not_given_leave_room_for_those_that_are(names: tuple[str, ...], total: float) -> None:
    """No stream fails on its own defaults: `--shifted 1` shifts every photo."""
    stream = Stream(400, 0, *(total / len(names) if name in names else None for name in SHARES))
    shares = dict(zip(SHARES, stream.shares, strict=True))
    assert all(shares[name] == total / len(names) for name in names)
    assert sum(shares.values()) <= 1 + 1e-9
    usual = dict(zip(SHARES, Stream().shares, strict=True))
    assert usual == {"duplicates": 0.05, "corrupt": 0.02, "shifted": 0.1}
    assert all(shares[name] <= usual[name] for name in SHARES if name not in names)
    events = plan_events(SAMPLES, stream, 0)
    assert len(events) == 400
    if names == ("shifted",) and total == 1:
        assert {event.kind for event in events} == {EventKind.SHIFTED}


@pytest.mark.parametrize(
    "shares", [(0.7, 0.2, 0.1), (0.1, 0.2, 0.7), (0.6, 0.3, 0.1), (0.3, 0.3, 0.4), (1.0, 0.0, 0.0)]
)
def test_shares_that_are_1_together_are_a_stream(shares: tuple[float, float, float]) -> None:
    """However their sum is rounded."""
    assert len(plan_events(SAMPLES, Stream(50, 0, *shares), 0)) == 50


@pytest.mark.parametrize("wrong", [-0.1, 1.1, math.nan, math.inf])
@pytest.mark.parametrize("name", SHARES)
def test_a_share_that_is_none_is_refused(name: str, wrong: float) -> None:
    """One line, before anything is sent."""
    with pytest.raises(BadStream, match="together they are 1 at most"):
        Stream(200, 0, *(wrong if share == name else None for share in SHARES))


@pytest.mark.parametrize("rate", [-1.0, math.nan, math.inf])
def test_a_rate_that_is_none_is_refused(rate: float) -> None:
    """As are streams without events."""
    with pytest.raises(BadStream, match="0 or more"):
        Stream(per_second=rate)
    with pytest.raises(BadStream, match="1 or more"):
        Stream(events=0)


def test_every_event_is_accounted_for(own_flow: Pipeline) -> None:
    """Sure photos are routed and move orders, unsure ones go to review, broken ones are refused, repeats suppressed."""
    flow = own_flow
    flow.order(40)
    photos = [flow.upload(f"{level}.png", plain_photo(level)) for level in (20, 230, 128)]
    bicycle, motorcycle, unsure = photos

    def event(
        number: int, sample: Sample, shape: EventKind = EventKind.PLAIN, kind: EventKind | None = None
    ) -> PhotoEvent:
        return PhotoEvent(number, kind or shape, sample, shape, (0.1 * number, 0.0))

    events = [
        event(0, bicycle),
        event(1, motorcycle),
        event(2, unsure),
        event(3, bicycle, EventKind.CORRUPT),
        event(4, bicycle, EventKind.CORRUPT),
        event(0, bicycle, kind=EventKind.DUPLICATE),
        event(1, motorcycle, kind=EventKind.DUPLICATE),
    ]
    arn = flow._load("up", StackOutputs).workflow_arn
    found = simulate(flow.aws, arn, events, (0, 1), Silent())
    assert found.outcomes == {
        EventKind.PLAIN: {Outcome.CLASSIFIED: 2, Outcome.BELOW_THRESHOLD: 1},
        EventKind.DUPLICATE: {DispatchStatus.DUPLICATE: 2},
        EventKind.CORRUPT: {Outcome.UNREADABLE: 2},
    }
    assert found.errors == {}
    taken = [item for item in flow.aws.tables.orders.scan() if item["status"] == "assigned"]
    assert len(taken) == found.orders == 4
    again = simulate(flow.aws, arn, events[:1], (50, 2), Silent())
    assert again.outcomes == {EventKind.PLAIN: {Outcome.CLASSIFIED: 1}}, "another run shows other photos"


def test_what_cannot_even_start_is_counted_as_failed(own_flow: Pipeline) -> None:
    """An event whose photo is gone fails by name, and the others go on."""
    gone = PhotoEvent(0, EventKind.PLAIN, SAMPLES[0], EventKind.PLAIN, (0.0, 0.0))
    there = PhotoEvent(1, EventKind.PLAIN, own_flow.upload("a.png", plain_photo(20)), EventKind.PLAIN, (0.0, 0.0))
    found = simulate(own_flow.aws, own_flow._load("up", StackOutputs).workflow_arn, [gone, there], (0, 2), Silent())
    assert found.count(Outcome.FAILED) == found.count(Outcome.CLASSIFIED) == 1
    assert found.errors == {"NoSuchKey": 1}
