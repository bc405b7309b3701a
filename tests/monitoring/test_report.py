"""The alert says what, since when, how sure and what to do, and fits where it is sent."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scones.monitoring.channels import CHANNELS, MEANINGS
from scones.monitoring.detectors import ChannelShift, Verdict
from scones.monitoring.report import MOST_EXAMPLES, Scene, cause, changes, render_alert, summarise

DARK = (
    ChannelShift("brightness", 124.0, 71.0, 15.0),
    ChannelShift("sharpness", 8.13, 4.29, 11.0),
    ChannelShift("certainty", 3.9, 2.2, 4.0),
    ChannelShift("noise", 3.4, 3.3, 0.1),
)


def a_verdict(channels: tuple[ChannelShift, ...] = DARK, alarm: bool = True, enough: bool = True) -> Verdict:
    """A verdict on a hundred photos."""
    return Verdict(alarm, enough, 100, 15.0 if alarm else 0.4, 2.5, channels, 0.0001 if alarm else 0.3, 0.001)


def test_the_subject_says_what_changed_in_words() -> None:
    """Whoever reads only the subject knows the direction."""
    assert summarise(a_verdict()).splitlines()[0] == (
        "Scones: photos have changed: darker, blurred, less certain, less grain (100 photos)"
    )


def test_the_body_holds_before_and_now_and_the_odds() -> None:
    """Figures follow the subject, with how likely noise would do this."""
    body = summarise(a_verdict())
    assert "124 -> 71" in body
    assert "1 in 10,000" in body


@pytest.mark.parametrize(
    ("verdict", "words"),
    [(a_verdict(alarm=False), "no drift in 100 photos"), (a_verdict(alarm=False, enough=False), "not enough photos")],
)
def test_quiet_and_too_few_are_told_apart(verdict: Verdict, words: str) -> None:
    """No alarm is not the same as no data."""
    assert words in summarise(verdict)
    assert render_alert(verdict)


def test_the_page_names_endpoint_time_channels_and_next_steps() -> None:
    """All that a person needs is on the page."""
    page = render_alert(a_verdict(), Scene("scones-dev", "2026-11-23T03:00:11Z", "2026-11-23T03:09:48Z"))
    for word in (
        "darker",
        "scones-dev",
        "2026-11-23T03:00:11Z",
        "What to do now",
        "scones train",
        MEANINGS["sharpness"],
    ):
        assert word in page


def test_the_page_fetches_nothing() -> None:
    """It can be read where the network is what broke."""
    page = render_alert(a_verdict())
    assert "http://" not in page
    assert "https://" not in page
    assert "<script" not in page


def test_what_comes_from_outside_is_escaped() -> None:
    """An endpoint's name is text, not markup."""
    assert "<b>x</b>" not in render_alert(a_verdict(), Scene("<b>x</b>"))


def test_the_page_shows_a_dozen_photos_at_most() -> None:
    """Examples are inlined, and there is an end to them."""
    photos = np.zeros((MOST_EXAMPLES + 5, 8, 8, 3), np.uint8)
    assert render_alert(a_verdict(), Scene(examples=photos)).count("data:image/png") == MOST_EXAMPLES


@pytest.mark.parametrize(
    ("loud", "expected"),
    [({"brightness", "certainty"}, "photos"), ({"log_odds", "certainty"}, "answers"), (set(), "mixture")],
)
def test_the_cause_follows_the_loud_channels(loud: set[str], expected: str) -> None:
    """Only answers: the model or the mix; any pixel channel: the photos; none alone: their mixture."""
    shifts = tuple(ChannelShift(name, 1.0, 2.0, 9.0 if name in loud else 0.1) for name in CHANNELS)
    assert cause(a_verdict(shifts)) == expected


def test_every_channel_has_words_for_both_directions() -> None:
    """No channel can change without a word for it."""
    for name in CHANNELS:
        words = {changes(a_verdict((ChannelShift(name, 1.0, now, 9.0),)))[0].word for now in (0.0, 1.0, 2.0)}
        assert len(words) == 3


@given(
    st.permutations(CHANNELS),
    st.lists(st.floats(-1e9, 1e9), min_size=len(CHANNELS), max_size=len(CHANNELS)),
    st.integers(0, 10**9),
)
def test_a_subject_always_fits_sns(names: list[str], medians: list[float], photos: int) -> None:
    """One line of at most 100 ASCII characters, whatever changed."""
    shifts = tuple(ChannelShift(name, 0.0, now, 5.0) for name, now in zip(names, medians, strict=True))
    for alarm in (True, False):
        subject = summarise(Verdict(alarm, True, photos, 5.0, 2.5, shifts, 0.001, 0.001)).splitlines()[0]
        assert len(subject) <= 100
        assert subject.isascii()


def test_a_subject_holds_whole_words_only() -> None:
    """However many words a change takes, the line that SNS carries is never cut within one."""
    names = ("certainty", "log_odds", "contrast", "saturation")
    shifts = tuple(ChannelShift(name, before=0.0, now=1.0, score=9.0) for name in names)
    verdict = Verdict(True, True, 123_456, 9.0, 2.0, shifts, 0.001, 0.001)
    subject = summarise(verdict).splitlines()[0]
    assert len(subject) <= 100
    assert subject.endswith("(123456 photos)")
