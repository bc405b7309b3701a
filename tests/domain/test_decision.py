import pytest

from scones.domain.decision import VEHICLES, Decision, Ruling, judge


@pytest.mark.parametrize(
    ("probabilities", "unfamiliar", "decision", "ruling"),
    [
        ((0.1, 0.9), False, Decision("motorcycle", 0.9), Ruling.ROUTED),
        ((0.8, 0.2), False, Decision("bicycle", 0.8), Ruling.ROUTED),
        ((0.21, 0.79), False, Decision("motorcycle", 0.79), Ruling.UNSURE),
        ((0.01, 0.99), True, Decision("motorcycle", 0.99), Ruling.UNFAMILIAR),
        ((0.5, 0.5), True, Decision("bicycle", 0.5), Ruling.UNFAMILIAR),
    ],
)
def test_a_photo_is_ruled_on(
    probabilities: tuple[float, ...], unfamiliar: bool, decision: Decision, ruling: Ruling
) -> None:
    """At the threshold is sure enough; an unfamiliar photo is refused however sure the model is."""
    verdict = judge(probabilities, VEHICLES, 0.8, unfamiliar=unfamiliar)
    assert (verdict.decision, verdict.ruling) == (decision, ruling)
