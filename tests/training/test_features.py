"""Features: the same for the same photos, however they are computed; views differ, and repeat."""

from pathlib import Path

import numpy as np
import pytest

from scones.data.decode import decode, png
from scones.training.features import CHUNK, VIEW_WEIGHTS, VIEWS, FeatureExtractor, view_of
from training.conftest import SIDE, Study


def test_features_do_not_depend_on_threads(studied: Study) -> None:
    """One thread or three: the same to the last bit."""
    one, three = (FeatureExtractor(studied.backbone.model, SIDE) for _ in range(2))
    one._threads, three._threads = 1, 3
    assert np.array_equal(one.see(studied.data.photos), three.see(studied.data.photos))
    assert np.array_equal(one.see(studied.data.photos), studied.study.views[0])


def test_no_photos_have_no_features(studied: Study) -> None:
    """Of the same width."""
    assert studied.extractor.see(studied.data.photos[:0]).shape == (0, studied.backbone.width)


def test_small_photos_are_enlarged_as_the_endpoint_does(studied: Study) -> None:
    """By what `decode` makes of a file of them."""
    small = studied.data.photos[:4, ::2, ::2]
    decoded = np.stack([decode(png(photo), SIDE) for photo in small])
    assert np.array_equal(studied.extractor.see(small), studied.extractor.see(decoded))


def test_kept_features_are_not_computed_again(studied: Study, tmp_path: Path) -> None:
    """Those of an interrupted training are read; a changed photo or another model has its own."""
    photos = studied.data.photos[: 2 * CHUNK]
    first = FeatureExtractor(studied.backbone.model, SIDE, tmp_path).see(photos)
    files = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*")}
    assert len(files) == 2
    again = FeatureExtractor(studied.backbone.model, SIDE, tmp_path).see(photos)
    assert np.array_equal(first, again)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("*")} == files
    changed = photos.copy()
    changed[0, 0, 0] ^= 255
    FeatureExtractor(studied.backbone.model, SIDE, tmp_path).see(changed)
    assert len(list(tmp_path.glob("*"))) == 3


def test_a_half_written_chunk_is_not_read(studied: Study, tmp_path: Path) -> None:
    """A stop in the middle of writing leaves a part, under another name."""
    photos = studied.data.photos[:CHUNK]
    FeatureExtractor(studied.backbone.model, SIDE, tmp_path).see(photos)
    (path,) = tmp_path.glob("*.npy")
    path.rename(path.with_suffix(".part"))
    assert np.array_equal(
        FeatureExtractor(studied.backbone.model, SIDE, tmp_path).see(photos), studied.study.views[0][:CHUNK]
    )


@pytest.mark.parametrize("view", range(VIEWS))
def test_a_view_repeats_and_keeps_the_shape(studied: Study, view: int) -> None:
    """The same seed gives the same pixels; all but the first view differ from the photos."""
    photos = studied.data.photos[:16]
    seen = view_of(photos, view, 5)
    assert (seen.shape, seen.dtype) == (photos.shape, photos.dtype)
    assert np.array_equal(seen, view_of(photos, view, 5))
    assert (view == 0) == np.array_equal(seen, photos)


def test_each_view_has_a_weight() -> None:
    """The photo itself and its mirror image count the most."""
    assert len(VIEW_WEIGHTS) == VIEWS
    assert VIEW_WEIGHTS[0] == VIEW_WEIGHTS[1] == max(VIEW_WEIGHTS)
