"""A Parquet file gives back what went in."""

import io

from arro3.io import read_parquet

from scones.batch.results import to_parquet


def test_text_and_numbers_come_back() -> None:
    """Missing numbers stay missing, and so do empty tables' columns."""
    body = to_parquet({"key": ("text", ["a", "ü"]), "confidence": ("number", [0.5, None])})
    table = read_parquet(io.BytesIO(body)).read_all()
    assert table.column("key").to_pylist() == ["a", "ü"]
    assert table.column("confidence").to_pylist() == [0.5, None]
