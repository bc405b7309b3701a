"""Parquet: columns of text and numbers as a Parquet file."""

import io
from collections.abc import Mapping
from typing import Literal

Column = tuple[Literal["text", "number"], list[str] | list[float | None]]
"""What a column holds, and its values; a number may be missing."""


def to_parquet(columns: Mapping[str, Column]) -> bytes:
    """Write columns of the same length."""
    # Loaded here: one verb needs it, and the others start quicker without.
    from arro3.core import Array, DataType, Table  # noqa: PLC0415
    from arro3.io import write_parquet  # noqa: PLC0415

    kinds = {"text": DataType.string(), "number": DataType.float64()}
    table = Table.from_pydict({name: Array(values, kinds[kind]) for name, (kind, values) in columns.items()})
    buffer = io.BytesIO()
    write_parquet(table, buffer)
    return buffer.getvalue()
