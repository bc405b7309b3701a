"""A folder of photos for the tests of its source."""

from pathlib import Path

import pytest

from photo_folders import VEHICLES, fill


@pytest.fixture
def tidy(tmp_path: Path) -> Path:
    """A folder with train/ and test/, both with both classes."""
    for start, (split, count) in enumerate([("train", 10), ("test", 4)]):
        for number, label in enumerate(VEHICLES):
            fill(tmp_path / split / label, count, 1000 * start + 100 * number)
    return tmp_path
