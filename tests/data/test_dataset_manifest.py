import pytest
from hypothesis import given
from hypothesis import strategies as st

from scones.data.dataset import InvalidManifest, Sample, from_lines, to_lines

CLASSES = ("bicycle", "motorcycle")
samples = st.builds(
    Sample,
    key=st.text(min_size=1, max_size=30).filter(lambda key: not key.startswith("s3://")),
    label=st.sampled_from(CLASSES),
    split=st.sampled_from(["train", "test"]),
    sha256=st.text("0123456789abcdef", min_size=64, max_size=64),
)


@given(st.lists(samples, max_size=5))
def test_a_manifest_reads_back_as_it_was_written(written: list[Sample]) -> None:
    """Names with spaces, accents and odd line ends survive."""
    assert from_lines(to_lines(written, "b", CLASSES), "b") == tuple(written)


def test_a_line_that_is_not_ours_is_named() -> None:
    """The message says which line, and what to do."""
    good = to_lines([Sample("k", "bicycle", "test", "0" * 64)], "b", CLASSES)
    with pytest.raises(InvalidManifest, match=r"line 2 .* run: scones stage"):
        from_lines(good + b"{}\n", "b")
