"""Decisions: outcomes, their errors, and what a refusal's cause says."""

import json

import pytest

from scones.domain.decision import (
    ERROR_OF_OUTCOME,
    VEHICLES,
    Decision,
    Outcome,
    decide,
    error_message,
    outcome_of_confidence,
    outcome_of_error,
    read_refusal,
)


@pytest.mark.parametrize(
    ("probabilities", "out_of_distribution", "decision", "outcome"),
    [
        ((0.1, 0.9), False, Decision("motorcycle", 0.9), Outcome.CLASSIFIED),
        ((0.8, 0.2), False, Decision("bicycle", 0.8), Outcome.CLASSIFIED),
        ((0.21, 0.79), False, Decision("motorcycle", 0.79), Outcome.BELOW_THRESHOLD),
        ((0.01, 0.99), True, Decision("motorcycle", 0.99), Outcome.OUT_OF_DISTRIBUTION),
        ((0.5, 0.5), True, Decision("bicycle", 0.5), Outcome.OUT_OF_DISTRIBUTION),
    ],
)
def test_confidence_and_ood_score_decide_the_outcome(
    probabilities: tuple[float, ...], out_of_distribution: bool, decision: Decision, outcome: Outcome
) -> None:
    """A confidence at the threshold is enough; a photo unlike the training photos is refused at any confidence."""
    assert decide(probabilities, VEHICLES) == decision
    assert outcome_of_confidence(decision.confidence, 0.8, out_of_distribution=out_of_distribution) is outcome


def test_every_error_has_one_outcome() -> None:
    """The names that a state machine catches, any other error, and none."""
    assert {outcome_of_error(error) for error in ERROR_OF_OUTCOME.values()} == set(ERROR_OF_OUTCOME)
    assert outcome_of_error("NoSuchKey") is Outcome.FAILED
    assert outcome_of_error("") is Outcome.CLASSIFIED


@pytest.mark.parametrize(
    ("old", "outcome"),
    [
        ("routed", Outcome.CLASSIFIED),
        ("succeeded", Outcome.CLASSIFIED),
        ("unsure", Outcome.BELOW_THRESHOLD),
        ("unfamiliar", Outcome.OUT_OF_DISTRIBUTION),
        ("unreadable", Outcome.UNREADABLE),
    ],
)
def test_the_words_of_the_first_release_are_read(old: str, outcome: Outcome) -> None:
    """Tables and buckets hold records of an older release."""
    assert Outcome(old) is outcome
    with pytest.raises(ValueError, match="is not a valid Outcome"):
        Outcome("sure")


def test_a_refusal_is_read_from_its_cause() -> None:
    """Lambda's cause is JSON, and the message in it is JSON too."""
    cause = json.dumps({"errorType": "UnreadablePhoto", "errorMessage": json.dumps({"reason": "is not a PNG"})})
    assert read_refusal(cause) == {"reason": "is not a PNG"}


def test_probabilities_of_other_classes_are_refused() -> None:
    """Naming one would be a guess."""
    with pytest.raises(ValueError, match="3 probabilities for 2 classes"):
        decide((0.1, 0.2, 0.7), VEHICLES)


@pytest.mark.parametrize("message", ["[1]", "1", "null", "no JSON"])
def test_a_refusal_that_is_no_object_has_no_fields(message: str) -> None:
    """Whatever JSON it is."""
    assert read_refusal(json.dumps({"errorMessage": message})) == {}


@pytest.mark.parametrize(
    ("cause", "message"),
    [
        ('{"errorMessage": "it is gone"}', "it is gone"),
        ("plain words", "plain words"),
        ("[1]", "[1]"),
        ("", ""),
        ('{"errorType": "Sandbox.Timedout"}', '{"errorType": "Sandbox.Timedout"}'),
    ],
)
def test_any_other_cause_has_a_message_and_no_refusal(cause: str, message: str) -> None:
    """A timeout or an error of AWS has no decision in it."""
    assert error_message(cause) == message
    assert "label" not in read_refusal(cause)
