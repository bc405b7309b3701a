"""The figures under damage are those of the model's answers to damaged photos."""

import numpy as np
import pytest

from evaluation.studied import ask
from scones.data.decode import decode
from scones.evaluation.robustness import CORRUPTIONS, SEVERITIES, Judge, meaning, measure_robustness
from tiny_model import plain_photo

JUDGE = Judge(("bicycle", "motorcycle"), ("bicycle", "motorcycle"), 0.8)


def test_light_costs_this_model_its_bicycles_and_darkness_its_motorcycles() -> None:
    """A dark bicycle and a bright motorcycle: what changes the light takes one of them; colour takes none."""
    photos = np.stack([decode(plain_photo(level), 32) for level in (60, 190)])
    told: list[tuple[int, int, str]] = []
    found = {
        (item.kind, item.severity): item
        for item in measure_robustness(ask, photos, JUDGE, 0, lambda *words: told.append(words))
    }
    assert len(found) == len(CORRUPTIONS) * len(SEVERITIES) == told[-1][0]
    assert found["brighter", 5].accuracy == found["darker", 5].accuracy == 0.5
    assert found["gray", 5].accuracy == 1
    assert found["darker", 1].n == 2
    assert found["brighter", 5].interval.low < 0.5 < found["brighter", 5].interval.high


@pytest.mark.parametrize(
    ("kind", "severity", "side", "words"),
    [
        ("jpeg", 3, 32, "JPEG at quality 58"),
        ("jpeg", 3, 96, "JPEG at quality 15"),
        ("occlusion", 1, 32, "a square of 20% of the side covered"),
    ],
)
def test_severities_are_said_in_words(kind: str, severity: int, side: int, words: str) -> None:
    """With the amounts that photos of this size suffer."""
    assert meaning(kind, severity, side) == words
