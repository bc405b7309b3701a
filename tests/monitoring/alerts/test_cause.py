"""Each cause is distinguished from the others on photos that changed in that way."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batches import alert_on, batch, swapped
from scones.monitoring.alerts.cause import (
    Cause,
    ProbableCause,
    estimate_mix,
    mix_can_be_shown,
    next_steps,
    probable_cause,
)
from scones.monitoring.drift.traffic import PhotoWindow
from scones.monitoring.drift.window_test import FeatureShift, WindowVerdict
from scones.monitoring.performance.registered_model import PredictionCheck

QUIET = {"log_odds": 0.1, "certainty": 0.1, "brightness": 0.1, "left_right": 0.1, "ood_score": 0.1}


def cause_of(
    check: PredictionCheck | None = None, mix: float = 0.5, strongest: str = "features", **changed: float
) -> ProbableCause:
    """The cause of a verdict with the threshold 1."""
    shifts = tuple(FeatureShift(name, 0.0, 1.0, score) for name, score in (QUIET | changed).items())
    verdict = WindowVerdict(True, True, 100, 3.0, 1.0, shifts, 0.001, 0.01, strongest)  # type: ignore[arg-type]
    return probable_cause(verdict, check, (0.5, 0.5), (mix, 1 - mix))


@pytest.mark.parametrize(
    ("photos", "cause"),
    [
        (batch(brightness=-2, sharpness=-2), Cause.QUALITY),
        (batch(ood_score=3, noise=-1), Cause.UNFAMILIAR),
        (batch(content_1=2), Cause.UNFAMILIAR),
        (batch(content_3=-2, log_odds=0.3), Cause.UNFAMILIAR),
        (batch(content_3=-2, brightness=-3), Cause.QUALITY),
        (batch(log_odds=1.5), Cause.MIX),
        (batch(certainty=-2), Cause.MODEL),
        (swapped(batch()), Cause.MODEL),
    ],
)
def test_each_cause_is_recognised(photos: PhotoWindow, cause: Cause) -> None:
    """Darker, out of distribution, of another class mix, or predicted by another model: tested as in a run."""
    assert alert_on(photos).cause.cause is cause


def test_a_replay_that_differs_is_certain_whatever_moved() -> None:
    """Photos may be dark as well; that another model answers comes first."""
    found = cause_of(PredictionCheck(20, (0, 3), 0.4, 4), brightness=9.0)
    assert (found.cause, found.certain) == (Cause.MODEL, True)
    assert found.reason == "2 of 20 predictions differ from those of the model deployed last"


def test_a_replay_that_agrees_excludes_the_model() -> None:
    """Answers that moved though the registered model gives the same ones are no other model's."""
    agreed = PredictionCheck(20, (), 0.01, None)
    assert cause_of(certainty=3.0).cause is Cause.MODEL
    assert cause_of(agreed, certainty=3.0).cause is Cause.UNCLEAR
    assert cause_of(agreed, strongest="products").cause is Cause.UNCLEAR


def test_what_the_photos_show_is_their_content_unless_their_light_changed() -> None:
    """The test of content alone, or one direction of it more than the prediction; blurred photos are blurred first."""
    agreed = PredictionCheck(20, (), 0.01, None)
    assert cause_of(agreed, strongest="content").cause is Cause.UNFAMILIAR
    assert cause_of(agreed, content_4=2.0, log_odds=1.5, mix=0.8).cause is Cause.UNFAMILIAR
    assert cause_of(agreed, content_4=1.2, log_odds=3.0, mix=0.8).cause is Cause.MIX
    assert cause_of(agreed, content_4=9.0, sharpness=2.0).cause is Cause.QUALITY


def test_a_turned_camera_is_a_matter_of_the_picture() -> None:
    """Rotated photos have high OOD scores, but which side is bright reveals them."""
    assert cause_of(ood_score=6.0).cause is Cause.UNFAMILIAR
    assert cause_of(ood_score=6.0, left_right=2.0).cause is Cause.QUALITY


def test_a_few_ood_photos_are_unfamiliar_content_whatever_else_changed_a_little() -> None:
    """Only the test for them fired; no feature is above the threshold as a whole."""
    agreed = PredictionCheck(20, (), 0.01, None)
    assert cause_of(agreed, strongest="ood tail", certainty=0.6).cause is Cause.UNFAMILIAR


def test_photos_that_became_more_familiar_are_not_unfamiliar() -> None:
    """The OOD score may fall, too."""
    assert alert_on(batch(ood_score=-3)).cause.cause is Cause.UNCLEAR


def test_a_lean_without_another_mix_is_no_class_mix() -> None:
    """The estimated shares must have moved too."""
    assert cause_of(log_odds=3.0, mix=0.8).cause is Cause.MIX
    assert cause_of(log_odds=3.0, mix=0.52).cause is not Cause.MIX


def test_without_features_the_cause_is_unclear() -> None:
    """Too few photos for a verdict tell no cause."""
    found = probable_cause(WindowVerdict(False, False, 3, 0.0, 0.0, ()))
    assert (found.cause, found.reason) == (Cause.UNCLEAR, "there are too few photos to find the cause")


def answers(count: int, share: float, seed: int) -> np.ndarray:
    """Calibrated answers of a model that was taught even classes, to photos of which *share* is of the first."""
    rng = np.random.default_rng(seed)
    first = rng.random(count) < share
    odds = np.exp(np.where(first, 1, -1) * 1.0 + rng.normal(size=count) * np.sqrt(2.0))
    return np.asarray(np.column_stack([odds, np.ones(count)]) / (1 + odds)[:, None])


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"brightness": 3.0}, "image features changed more than the content of the photos"),
        ({"ood_score": 6.0}, "the OOD score changed more than any change of light or sharpness explains"),
        ({"log_odds": 3.0, "mix": 0.8}, "image features are unchanged; only the class mix changed"),
        ({"certainty": 3.0}, "predictions changed while image features did not; no prediction check was possible"),
        ({"strongest": "ood tail"}, "some photos have high OOD scores; no image feature changed much"),
        ({}, "no single feature changed much; several changed a little together"),
    ],
)
def test_a_cause_has_its_reason_in_one_sentence(changed: dict[str, Any], reason: str) -> None:
    """The alert shows it."""
    assert cause_of(**changed).reason == reason


@pytest.mark.parametrize("cause", Cause)
def test_the_last_step_is_to_acknowledge_the_alarm(cause: Cause) -> None:
    """Until then it does not fire again."""
    last = next_steps(cause, "dev")[-1]
    assert last.text == "When it is fixed, acknowledge the alarm; until then it does not fire again."
    assert last.command == "scones monitor --acknowledge"


@pytest.mark.parametrize("cause", Cause)
def test_each_command_of_an_alert_names_its_environment(cause: Cause) -> None:
    """Whoever pastes it acts on the environment that the alert is about."""
    commands = [step.command for step in next_steps(cause, "prod") if step.command]
    assert commands
    for command in " && ".join(commands).split(" && "):
        assert command.split()[2:4] == ["--env", "prod"]


@pytest.mark.parametrize("share", [0.1, 0.5, 0.8])
def test_the_mix_is_found(share: float) -> None:
    """Within a few points, where counting winners would be far off."""
    assert estimate_mix(answers(4000, share, 0), [0.5, 0.5])[0] == pytest.approx(share, abs=0.05)


@given(st.integers(0, 50), st.floats(0, 1), st.integers(0, 1000))
def test_a_mix_is_always_one(count: int, share: float, seed: int) -> None:
    """Shares lie between 0 and 1 and add up to 1, and no photos leave the baseline's."""
    mix = estimate_mix(answers(count, share, seed), [0.3, 0.7])
    assert sum(mix) == pytest.approx(1)
    assert all(0 <= part <= 1 for part in mix)
    if not count:
        assert mix == pytest.approx((0.3, 0.7))


@pytest.mark.parametrize(
    ("loud", "shown"), [("", True), ("log_odds", True), ("brightness", False), ("ood_score", False)]
)
def test_it_is_shown_only_where_the_photos_are_as_they_were(loud: str, shown: bool) -> None:
    """Dark or out-of-distribution photos look like another mix."""
    names = ("log_odds", "brightness", "ood_score")
    shifts = tuple(FeatureShift(name, 0, 1, 9 if name == loud else 0) for name in names)
    assert mix_can_be_shown(WindowVerdict(True, True, 100, 9, 2, shifts)) is shown
    assert not mix_can_be_shown(WindowVerdict(False, False, 5, 0, 0, ()))
