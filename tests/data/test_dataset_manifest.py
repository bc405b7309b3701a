import json

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
    source=st.text(max_size=10),
)


@given(st.lists(samples, max_size=5))
def test_a_manifest_reads_back_as_it_was_written(written: list[Sample]) -> None:
    """Names with spaces, accents and odd line ends survive."""
    assert from_lines(to_lines(written, "b", CLASSES), "b") == tuple(written)


@pytest.mark.parametrize(("name", "source"), [("a.png", ""), ("phone/a.png", "phone"), ("phone/train/a.png", "phone")])
def test_a_manifest_without_sources_has_those_of_its_folders(name: str, source: str) -> None:
    """As manifests of before; those of any bucket read the same, also of a bucket that is called like a split."""
    about = {"class-name": "bicycle", "split": "train", "sha256": "0" * 64}
    for bucket in ("b", "train"):
        line = {"source-ref": f"s3://{bucket}/data/v/train/bicycle/{name}", "vehicle": 0, "vehicle-metadata": about}
        for known in (bucket, ""):
            (found,) = from_lines(json.dumps(line).encode(), known)
            assert (found.key, found.source) == (f"data/v/train/bicycle/{name}", source)


def test_a_line_that_is_not_ours_is_named() -> None:
    """The message says which line, and what to do."""
    good = to_lines([Sample("k", "bicycle", "test", "0" * 64)], "b", CLASSES)
    with pytest.raises(InvalidManifest, match=r"line 2 .* run: scones stage"):
        from_lines(good + b"{}\n", "b")
