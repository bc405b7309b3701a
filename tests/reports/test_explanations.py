"""The explanations page shows each photo, its evidence in the classes' colors, and similar training photos."""

import numpy as np

from scones.data.decode import png
from scones.model.explanations import Explanation, Neighbor, decisive_places
from scones.reports.explanations import ExplainedPhoto, draw_evidence, render_explanations

ORANGE, BLUE = (255, 128, 0), (0, 64, 255)
CLASSES = ("bicycle", "motorcycle")


def explained(name: str, photo: bytes, *, evidence: bool = True) -> ExplainedPhoto:
    """A photo that the model takes for a bicycle, with one similar training photo."""
    places = np.array([[3.0, 0.0], [0.0, -1.0]])
    neighbors = (Neighbor("bicycle/a <b>.png", "bicycle", 0.875),)
    maps, flip = (places, decisive_places(places, 1.0)) if evidence else (None, None)
    found = Explanation("bicycle", "motorcycle", 1.0, -1.0, maps, flip, neighbors, 0.7, 0.5)
    return ExplainedPhoto(name, photo, "motorcycle", "out_of_distribution", 0.75, found)


def test_places_are_tinted_by_the_class_that_they_speak_for() -> None:
    """Places without evidence keep their color."""
    photo = np.full((64, 64, 3), 128, np.uint8)
    drawn = draw_evidence(photo, np.array([[4.0, 0.0], [0.0, -4.0]]), ORANGE, BLUE).astype(int)
    red_minus_blue = drawn[:, :, 0] - drawn[:, :, 2]
    assert red_minus_blue[8, 8] > 100
    assert red_minus_blue[-8, -8] < -100
    assert abs(red_minus_blue[8, -8]) < 40


def test_a_photo_without_any_evidence_is_drawn_as_it_is() -> None:
    """Evidence of zero everywhere tints nothing."""
    photo = np.arange(64 * 64 * 3, dtype=np.uint32).reshape(64, 64, 3).astype(np.uint8)
    assert np.array_equal(draw_evidence(photo, np.zeros((2, 2)), ORANGE, BLUE), photo)


def test_the_page_says_what_each_prediction_rests_on() -> None:
    """Names from elsewhere are escaped; the truth is shown where it differs; nothing is fetched."""
    photo = png(np.full((40, 40, 3), 90, np.uint8))
    page = render_explanations([explained("<x>.png", photo)], {"bicycle/a <b>.png": photo}, CLASSES, "abc123")
    for part in ("truth: motorcycle", "0.88", "without 25% of the photo", "over the limit of 0.5", "&lt;x&gt;.png"):
        assert part in page
    assert "<b>.png" not in page
    assert page.count("<img") == 3
    assert "http" not in page.split("<body>")[1]


def test_a_model_without_maps_and_a_photo_that_is_damaged_have_a_place_on_the_page() -> None:
    """What cannot be drawn is said or left empty, and the others are shown."""
    sound = png(np.full((40, 40, 3), 90, np.uint8))
    page = render_explanations(
        [explained("a.png", sound, evidence=False), explained("b.png", b"no image")], {}, CLASSES, "abc123"
    )
    assert page.count("does not say which places decided") == 2
    assert page.count("<section>") == 2
