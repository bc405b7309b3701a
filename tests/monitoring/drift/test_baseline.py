"""The baseline survives a file, and refuses a wrong one."""

from pathlib import Path

import numpy as np
import pytest

from scones.monitoring.drift.baseline import Baseline, InvalidBaseline
from scones.monitoring.drift.features import ADDED_FEATURES, FEATURES, ContentDirections


def a_table(photos: int = 5) -> np.ndarray:
    """Measurements of as many photos."""
    return np.random.default_rng(0).normal(size=(photos, len(FEATURES)))


def test_a_saved_baseline_reads_back(tmp_path: Path) -> None:
    """Every value and the data version come back bit for bit."""
    Baseline(a_table(), "abc").save(tmp_path / "baseline.npz")
    back = Baseline.load(tmp_path / "baseline.npz")
    assert (back.values == a_table()).all()
    assert back.data_version == "abc"


def test_the_same_baseline_gives_the_same_bytes(tmp_path: Path) -> None:
    """The file does not depend on the time it was written, so the model file's checksum does not either."""
    for name in ("a", "b"):
        Baseline(a_table()).save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("table", [np.zeros((3, 2)), np.zeros((0, len(FEATURES))), np.full((3, len(FEATURES)), np.nan)])
def test_a_table_that_is_no_baseline_is_refused(table: np.ndarray) -> None:
    """Other features, no photos, and values that are not finite are refused."""
    with pytest.raises(InvalidBaseline):
        Baseline(table)


@pytest.mark.parametrize("data", [b"", b"hello", b"PK\x03\x04broken"])
def test_a_damaged_file_is_refused(tmp_path: Path, data: bytes) -> None:
    """A file that is no archive is one clear error."""
    (tmp_path / "baseline.npz").write_bytes(data)
    with pytest.raises(InvalidBaseline, match="cannot read"):
        Baseline.load(tmp_path / "baseline.npz")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    """No file is the same clear error."""
    with pytest.raises(InvalidBaseline, match="nowhere"):
        Baseline.load(tmp_path / "nowhere.npz")


def test_a_pickle_in_disguise_is_refused(tmp_path: Path) -> None:
    """An object array, which only pickle can read, is never loaded."""
    objects = np.array([object()], dtype=object)
    np.savez(tmp_path / "baseline.npz", format=np.array(1), features=objects, values=a_table())
    with pytest.raises(InvalidBaseline):
        Baseline.load(tmp_path / "baseline.npz")


def test_other_features_are_refused(tmp_path: Path) -> None:
    """A baseline of another version's features is not compared with this version's."""
    file = tmp_path / "baseline.npz"
    with file.open("wb") as out:
        np.savez(out, format=np.array(2), channels=np.array(["x"]), values=np.zeros((2, 1)), data_version=np.array(""))
    with pytest.raises(InvalidBaseline, match="other features"):
        Baseline.load(file)


def test_a_model_without_ood_detector_has_a_baseline_too() -> None:
    """The last feature may be missing throughout, but not here and there."""
    table = np.ones((3, len(FEATURES)))
    table[:, -1] = np.nan
    Baseline(table)
    table[0, -1] = 1
    with pytest.raises(InvalidBaseline):
        Baseline(table)


@pytest.mark.parametrize("column", range(len(FEATURES)))
def test_a_single_missing_value_is_damage(column: int) -> None:
    """In whichever feature it is."""
    table = a_table()
    table[2, column] = np.nan
    with pytest.raises(InvalidBaseline, match="the baseline holds values that are not finite; train again"):
        Baseline(table)


def test_days_are_counted_and_must_be_of_all_photos() -> None:
    """Training photos have none."""
    assert Baseline(a_table()).day_count() == 0
    assert Baseline(a_table(5), days=np.array([3, 3, 4, 7, 7])).day_count() == 3
    with pytest.raises(InvalidBaseline, match="5 photos, and days for 4; learn it again"):
        Baseline(a_table(5), days=np.zeros(4, np.intp))


def test_a_baseline_of_an_earlier_release_reads(tmp_path: Path) -> None:
    """It has fewer features, and the earlier name of the OOD score; what it lacks is not compared."""
    file = tmp_path / "baseline.npz"
    names = np.array([*(name for name in FEATURES[:-1] if name not in ADDED_FEATURES), "unfamiliarity"])
    with file.open("wb") as out:
        np.savez(out, format=np.array(2), channels=names, values=np.ones((2, 13)), data_version=np.array("v"))
    read = Baseline.load(file)
    assert (read.data_version, read.content, read.ood_lower) == ("v", None, 1)
    assert np.isnan(read.values[:, FEATURES.index("content_1")]).all()


def test_content_directions_are_kept() -> None:
    """They read back, and measure the same."""
    rows = np.random.default_rng(0).normal(size=(30, 16))
    content = ContentDirections.of(rows, np.arange(30) % 2)
    again = Baseline.from_bytes(Baseline(a_table(), content=content).to_bytes(), "here").content
    assert again is not None
    assert (again.measure(rows) == content.measure(rows)).all()


@pytest.mark.parametrize("shape", [(16,), (16, 3), (15, 4)])
def test_damaged_content_directions_are_refused(shape: tuple[int, ...]) -> None:
    """In one line."""
    wrong = ContentDirections(np.zeros(16, np.float32), np.zeros(shape, np.float32))
    with pytest.raises(InvalidBaseline, match="train again"):
        Baseline.from_bytes(Baseline(a_table(), content=wrong).to_bytes(), "here")
