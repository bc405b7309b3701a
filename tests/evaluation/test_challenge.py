"""A new model and the live one answer the same photos; only one that is not worse passes."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from scones.data.decode import decode, png
from scones.evaluation.challenge import Challenge, ChallengeTerms, challenge, shadow
from scones.evaluation.evaluation import CannotEvaluate, EvaluationPhoto, ModelFacts, ModelUnderTest
from scones.evaluation.gate import UnlikeModels
from scones.evaluation.model_client import ModelOutput

CLASSES = ("bicycle", "motorcycle")
SIDE = 16


def photos(count: int, seed: int) -> list[EvaluationPhoto]:
    """Dark bicycles and bright motorcycles."""
    rng = np.random.default_rng(seed)
    levels = [rng.integers(20, 90) if number % 2 == 0 else rng.integers(165, 235) for number in range(count)]
    return [
        EvaluationPhoto(str(number), CLASSES[number % 2], png(np.full((SIDE, SIDE, 3), level, np.uint8)))
        for number, level in enumerate(levels)
    ]


def model(
    wrong: Callable[[float], bool] = lambda _level: False,
    classes: tuple[str, ...] = CLASSES,
    ood: Callable[[float], float] | None = None,
) -> ModelUnderTest:
    """A model that goes by brightness, but for the levels that it gets *wrong*."""

    def predict(data: Sequence[bytes]) -> ModelOutput:
        levels = [float(decode(body, SIDE).mean()) for body in data]
        second = np.array([0.9 if (level > 128) != wrong(level) else 0.1 for level in levels])
        table = np.stack([1 - second, second] + [np.zeros(len(second))] * (len(classes) - 2), axis=1)
        return ModelOutput(table, None if ood is None else np.array([ood(level) for level in levels]))

    facts = ModelFacts("m", "v", "d", "2026-01-01", 1.0, SIDE, classes, None if ood is None else 0.5)
    return ModelUnderTest(facts, predict)


def judged(
    challenger: ModelUnderTest,
    champion: ModelUnderTest | None = None,
    fresh: Sequence[EvaluationPhoto] = (),
    *,
    must_be_better: bool = False,
    test: Sequence[EvaluationPhoto] | None = None,
) -> Challenge:
    """The comparison on two hundred test photos."""
    terms = ChallengeTerms(must_be_better, 0.02, 0.8, 0)
    chosen = photos(200, 1) if test is None else test
    return challenge(champion or model(), challenger, (chosen, fresh), terms, lambda *_: None)


def test_a_model_as_good_as_the_live_one_passes() -> None:
    """Both figures, and the photos that only one has right, are told."""
    found = judged(model(), fresh=photos(20, 2))
    assert found.passed
    assert [(each.name, each.n, each.champion, each.challenger) for each in found.accuracies] == [
        ("test photos", 200, 1.0, 1.0),
        ("fresh photos", 20, 1.0, 1.0),
    ]


@pytest.mark.parametrize(
    ("what", "challenger"),
    [
        ("one class forgotten", model(lambda level: level > 128)),
        ("labels flipped", model(lambda _level: True)),
        ("some photos of one class", model(lambda level: 20 <= level < 40)),
        ("rejects its own classes", model(ood=lambda level: float(level < 60))),
    ],
)
def test_a_worse_model_is_refused_with_the_figures(what: str, challenger: ModelUnderTest) -> None:
    """Whatever it is worse at: a poisoned file of labels shows in one of these."""
    champion = model(ood=lambda _level: 0.0) if "rejects" in what else None
    found = judged(challenger, champion)
    assert not found.passed
    assert "required; next: stage more" in found.reason()


def test_where_drift_was_found_the_new_model_must_be_better_on_fresh_photos() -> None:
    """As good is not enough; without fresh photos nothing shows that it is better."""
    old = model(lambda level: 60 <= level < 90)
    fresh = [
        photo
        for photo in photos(200, 3)
        if old.predict([photo.data]).probabilities.argmax() != (photo.label != "bicycle")
    ]
    assert judged(model(), old, fresh[:30], must_be_better=True).passed
    assert not judged(model(), fresh=photos(30, 4), must_be_better=True).passed
    assert not judged(model(), old, must_be_better=True).passed


def test_a_class_without_test_photos_fails() -> None:
    """Nothing can be said of it."""
    only = [photo for photo in photos(300, 1) if photo.label == "bicycle"]
    found = judged(model(), test=only)
    assert not found.passed
    assert "motorcycle" in found.reason()


def test_models_of_other_classes_and_an_empty_test_set_are_refused_in_one_line() -> None:
    """They cannot be compared."""
    with pytest.raises(UnlikeModels, match="bicycle, motorcycle, tram"):
        judged(model(classes=(*CLASSES, "tram")))
    with pytest.raises(CannotEvaluate, match="no test photos"):
        judged(model(), test=[])


def test_a_shadow_counts_agreement_disagreements_and_photos_that_only_one_model_routes() -> None:
    """No one knows the truth of these photos, so nothing is said of accuracy."""
    recorded = np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.1, 0.9]])
    challenger = np.array([[0.9, 0.1], [0.2, 0.8], [0.85, 0.15], [0.3, 0.7]])
    found = shadow(recorded, challenger, ("bicycle", "motorcycle"), 0.8)
    assert (found.n, found.agree, found.disagreements) == (4, 3, {"bicycle -> motorcycle": 1})
    assert (found.only_live_routes, found.only_new_routes) == (1, 1)
    assert found.interval.low < 0.75 < found.interval.high
    assert str(found) == (
        "shadow: the models agree on 75.0% [30.1% to 95.4%] of 4 recent photos "
        "(1 bicycle -> motorcycle; 1 only the live one routes, 1 only the new one)"
    )
