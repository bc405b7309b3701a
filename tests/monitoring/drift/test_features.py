"""The features see what they are named after."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from scones.monitoring.drift.features import (
    ADDED_FEATURES,
    CONTENT_FEATURES,
    FEATURE_DESCRIPTIONS,
    FEATURES,
    ContentDirections,
    FeatureSummary,
    InvalidMeasurement,
    clip_ood_score,
    current_columns,
    measure_features,
)

EVEN = np.array([[0.5, 0.5]])


def feature(name: str, photo: np.ndarray, probabilities: np.ndarray = EVEN) -> float:
    """One feature of one photo."""
    return float(measure_features(photo[None].astype(np.uint8), probabilities)[0, FEATURES.index(name)])


def flat(red: int, green: int, blue: int) -> np.ndarray:
    """A photo of one colour."""
    return np.full((32, 32, 3), (red, green, blue), dtype=np.uint8)


def a_photo(seed: int = 0) -> np.ndarray:
    """A photo of grain without black or burnt pixels."""
    return np.random.default_rng(seed).integers(20, 230, (32, 32, 3), dtype=np.uint8)


def test_every_feature_has_a_description() -> None:
    """A report can explain every feature that it names."""
    assert tuple(FEATURE_DESCRIPTIONS) == FEATURES


def test_a_flat_grey_photo_is_only_bright() -> None:
    """A photo of one grey has its brightness and nothing else."""
    row = measure_features(flat(100, 100, 100)[None], EVEN, np.zeros(1), np.zeros((1, 4)))[0]
    assert row[FEATURES.index("brightness")] == pytest.approx(100)
    others = [i for i, name in enumerate(FEATURES) if name != "brightness"]
    assert row[others] == pytest.approx(0)


def test_log_odds_are_those_of_the_second_class() -> None:
    """Probabilities .2 and .8 give ln 4, and the same margin."""
    row = measure_features(flat(1, 1, 1)[None], np.array([[0.2, 0.8]]))[0]
    assert row[:2] == pytest.approx([np.log(4), np.log(4)])


def test_the_certainty_of_two_classes_forgets_which() -> None:
    """Swapping the answers turns the log-odds and keeps the margin."""
    there, back = (measure_features(flat(1, 1, 1)[None], np.array([p]))[0] for p in ([0.2, 0.8], [0.8, 0.2]))
    assert (there[0], there[1]) == pytest.approx((-back[0], back[1]))


def test_with_three_classes_the_likeliest_is_measured() -> None:
    """Log-odds of the first choice, and its margin over the second."""
    row = measure_features(flat(1, 1, 1)[None], np.array([[0.1, 0.6, 0.3]]))[0]
    assert row[:2] == pytest.approx([np.log(0.6 / 0.4), np.log(2)])


def test_a_saturated_answer_stays_finite() -> None:
    """Probabilities of exactly 0 and 1 give large numbers, not infinite ones."""
    assert np.isfinite(measure_features(flat(1, 1, 1)[None], np.array([[0.0, 1.0]]))[:, :2]).all()


def test_red_is_positive_and_blue_negative() -> None:
    """red_blue is the mean red minus the mean blue."""
    assert feature("red_blue", flat(200, 0, 50)) == pytest.approx(150)


def test_black_and_burnt_pixels_are_clipped() -> None:
    """Half a photo of white on half of mid-grey is clipped by half."""
    photo = flat(128, 128, 128)
    photo[:16] = 255
    assert feature("clipping", photo) == pytest.approx(0.5)
    assert feature("top_bottom", photo) == pytest.approx(127)
    assert feature("left_right", photo) == pytest.approx(0)


def test_turning_a_photo_swaps_its_halves() -> None:
    """A quarter turn makes of top-bottom left-right, so that a turned camera is seen."""
    photo = a_photo()
    assert feature("left_right", np.rot90(photo)) == pytest.approx(feature("top_bottom", photo), abs=1e-3)


def test_known_photos_have_the_same_features_in_every_version() -> None:
    """A baseline is compared with photos that another version measured; these are wider than high."""
    photos = np.random.default_rng(0).integers(0, 256, (2, 12, 9, 3), dtype=np.uint8)
    table = measure_features(
        photos, np.array([[0.2, 0.8], [0.7, 0.3]]), np.array([1.5, 2.5]), np.arange(8.0).reshape(2, 4)
    )
    first = "1.386294 126.2624 39.71638 10.28841 4.904726 -1.768519 0.02469136 5.137467 12.70371 -8.375 0.0133999"
    second = "0.8472979 123.2099 45.54541 10.6733 4.850438 -8.462963 0.0308642 5.456876 -17.7284 22.44444 0.03739316"
    assert table[0] == pytest.approx([1.386294, *map(float, first.split()), 5.442364, 1, 0, 1, 2, 3, 1.5], rel=1e-4)
    assert table[1] == pytest.approx([-0.8472979, *map(float, second.split()), 5.49619, 1, 4, 5, 6, 7, 2.5], rel=1e-4)


def test_the_sides_of_a_tiny_photo_are_its_outermost_pixels() -> None:
    """A quarter of four is one."""
    photo = np.zeros((4, 4, 3))
    photo[:, 0], photo[:, 1] = 100, 60
    assert feature("left_right", photo) == 100
    assert feature("top_bottom", photo) == 0


def test_grain_moves_noise_more_than_an_edge_does() -> None:
    """Noise answers to grain; a clean edge leaves it at zero, but shows as sharpness."""
    edge = flat(60, 60, 60)
    edge[:, 16:] = 180
    assert feature("noise", edge) == pytest.approx(0, abs=1e-5)
    assert feature("sharpness", edge) > 1
    assert feature("noise", a_photo()) > 1


def test_photos_in_chunks_measure_as_they_do_alone() -> None:
    """The table does not depend on how many photos come at once."""
    photos = np.stack([a_photo(seed) for seed in range(300)])
    answers = np.random.default_rng(0).dirichlet([1, 1], 300)
    ood_score = np.arange(300.0)
    content = np.random.default_rng(1).normal(size=(300, len(CONTENT_FEATURES)))
    table = measure_features(photos, answers, ood_score, content)
    alone = [measure_features(photos[[i]], answers[[i]], ood_score[[i]], content[[i]]) for i in (0, 255, 256, 299)]
    assert table[[0, 255, 256, 299]] == pytest.approx(np.concatenate(alone))


def test_no_photos_give_an_empty_table() -> None:
    """Nothing in, nothing out, with the right number of columns."""
    assert measure_features(np.empty((0, 32, 32, 3), np.uint8), np.empty((0, 2))).shape == (0, len(FEATURES))


@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9), st.just(3))))
def test_every_photo_of_any_size_measures_finite(photos: np.ndarray) -> None:
    """No photo, however small, gives a value that is not finite."""
    content = np.zeros((len(photos), len(CONTENT_FEATURES)))
    assert np.isfinite(measure_features(photos, np.full((len(photos), 2), 0.5), np.zeros(len(photos)), content)).all()


@pytest.mark.parametrize(
    ("photos", "probabilities"),
    [
        (np.zeros((1, 4, 4)), np.array([[0.5, 0.5]])),
        (np.zeros((1, 4, 4, 3)), np.array([[0.5, 0.5]])),
        (np.zeros((1, 4, 4, 3), np.uint8), np.array([[1.0]])),
        (np.zeros((2, 4, 4, 3), np.uint8), np.array([[0.5, 0.5]])),
        (np.zeros((1, 4, 4, 3), np.uint8), np.array([[np.nan, 0.5]])),
    ],
)
def test_what_cannot_be_measured_is_refused(photos: np.ndarray, probabilities: np.ndarray) -> None:
    """Wrong shapes and types, and answers that are not finite, are errors and not numbers."""
    with pytest.raises(InvalidMeasurement):
        measure_features(photos, probabilities)


def test_a_photo_on_its_side_swaps_its_edges() -> None:
    """Turning by 90 degrees turns the sign of the orientation."""
    fence = np.zeros((32, 32, 3))
    fence[:, ::4] = 200
    upright, lying = feature("orientation", fence), feature("orientation", fence.transpose(1, 0, 2))
    assert upright > 1
    assert lying == pytest.approx(-upright)


def test_unfamiliarity_is_handed_through_or_missing() -> None:
    """The model's own score is the last column; without it the column is NaN."""
    photos, answers = np.stack([flat(1, 1, 1)] * 2), np.repeat(EVEN, 2, axis=0)
    assert measure_features(photos, answers, np.array([0.5, -2.0]))[:, -1].tolist() == [0.5, -2.0]
    assert np.isnan(measure_features(photos, answers)[:, -1]).all()


def test_a_network_that_knows_more_photos_and_finds_all_a_little_more_familiar_is_no_change() -> None:
    """Scores below what nine in ten stay below are one; those above stay as they are."""
    scores = np.random.default_rng(0).normal(size=500)
    known = clip_ood_score(scores)
    assert known.min() == np.quantile(scores, 0.9)
    assert (known == scores).mean() == pytest.approx(0.1, abs=0.01)
    lower = np.maximum(scores - 0.1, known.min())
    assert abs(known.mean() - lower.mean()) < 0.02


@given(st.lists(st.integers(0, 40), min_size=1, max_size=6))
def test_a_summary_is_the_same_in_one_piece_or_in_many(sizes: list[int]) -> None:
    """Mean, spread, extremes and histogram do not depend on how the photos were batched."""
    batches = [np.random.default_rng(number).normal(9, 5, (size, len(FEATURES))) for number, size in enumerate(sizes)]
    whole = np.concatenate(batches)
    summary = FeatureSummary(np.random.default_rng(9).normal(10, 2, (200, len(FEATURES))))
    for batch in batches:
        summary.add(batch)
    assert summary.photos == len(whole)
    for feature, found in enumerate(summary.features):
        assert found.counts.sum() == found.present == len(whole)
        if len(whole):
            assert found.mean == pytest.approx(whole[:, feature].mean())
            assert found.deviation == pytest.approx(whole[:, feature].std())
            assert (found.least, found.most) == (whole[:, feature].min(), whole[:, feature].max())


def test_grain_of_the_colours_alone_is_no_grain_of_the_brightness() -> None:
    """Noise whose three colours add up to nothing shows in the colours."""
    noise = np.random.default_rng(0).integers(-20, 21, (32, 32))
    photo = flat(120, 120, 120).astype(int)
    photo[..., 0] += noise
    photo[..., 2] -= noise
    assert feature("noise", photo) == pytest.approx(0, abs=0.01)
    assert feature("colour_grain", photo) > 2


@pytest.mark.parametrize(("share", "expected"), [(0.0, 1.0), (0.25, 0.82), (1.0, 0.0)])
def test_the_richest_colour_fades_with_the_photo(share: float, expected: float) -> None:
    """A few red pixels in a gray photo are all red; made grayer, they are less so, whatever the others are."""
    photo = flat(90, 90, 90).astype(float)
    photo[:2, :4] = (200, 0, 0)
    faded = (1 - share) * photo + share * photo.mean(axis=2, keepdims=True)
    assert feature("richest_colour", faded.round()) == pytest.approx(expected, abs=0.1)


def scenes(count: int, seed: int, moved: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Features of photos that differ much in two ways, little in all others, and by class in a third; and classes."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, count)
    rows = rng.normal(size=(count, 40)) * np.where(np.arange(40) < 2, 1.0, 0.1)
    rows[:, 2] += 3 * (2 * labels - 1)
    rows[:, 3] += 8
    rows[:, 0] += moved
    return rows, labels


def test_content_has_unit_spread_and_does_not_tell_the_classes_apart() -> None:
    """Along each direction the training photos have mean 0 and deviation 1, and so has either class."""
    rows, labels = scenes(600, 0)
    content = ContentDirections.of(rows, labels).measure(rows)
    assert content.mean(axis=0) == pytest.approx(0, abs=1e-5)
    assert content.std(axis=0) == pytest.approx(1, abs=1e-2)
    assert content[labels == 0].mean(axis=0) == pytest.approx(content[labels == 1].mean(axis=0), abs=0.05)


def test_photos_of_other_content_move_along_the_directions() -> None:
    """As far as what they show has moved; photos like the training photos stay."""
    directions = ContentDirections.of(*scenes(600, 0))
    same, other = (np.abs(directions.measure(scenes(200, 1, moved)[0]).mean(axis=0)).max() for moved in (0, 2))
    assert same < 0.3
    assert other > 1


@pytest.mark.parametrize(
    ("rows", "labels"),
    [
        (np.ones((5, 8)), np.array([0, 0, 0, 1, 1])),
        (np.random.default_rng(0).normal(size=(6, 2)), np.array([0, 0, 0, 1, 1, 1])),
        (np.zeros((4, 8)), np.array([0, 0, 1, 1])),
        (np.random.default_rng(0).normal(size=(3, 3000)).astype(np.float16), np.array([0, 1, 2])),
    ],
)
def test_features_that_do_not_vary_or_are_few_give_no_directions(rows: np.ndarray, labels: np.ndarray) -> None:
    """Identical photos, two features, zeros, and as many classes as photos: finite, and 0 where there is nothing."""
    content = ContentDirections.of(rows, labels).measure(rows)
    assert content.shape == (len(rows), len(CONTENT_FEATURES))
    assert np.isfinite(content).all()


EARLIER = tuple(name for name in FEATURES if name not in ADDED_FEATURES)


def test_a_table_of_an_earlier_release_gets_the_columns_that_it_lacks() -> None:
    """By name; what was not measured is NaN."""
    table = np.arange(26.0).reshape(2, 13)
    for names in (EARLIER, (*EARLIER[:-1], "unfamiliarity")):
        found = current_columns(table, names)
        assert found[:, FEATURES.index("orientation")].tolist() == table[:, 11].tolist()
        assert found[:, -1].tolist() == table[:, -1].tolist()
        assert np.isnan(found[:, FEATURES.index("content_1")]).all()


@pytest.mark.parametrize("names", [EARLIER[1:], EARLIER[::-1], (*EARLIER, "smell"), ()])
def test_a_table_of_other_features_is_refused(names: tuple[str, ...]) -> None:
    """A column that no release has, one that each had, or another order."""
    with pytest.raises(ValueError, match="its features are"):
        current_columns(np.zeros((2, len(names))), names)
