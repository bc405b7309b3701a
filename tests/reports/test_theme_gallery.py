"""The gallery chooses telling photos, and puts any photo into the page safely and small."""

import base64
import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from scones.reports.theme import MAX_PHOTOS, PhotoCard, choose_photos, picture

CLASSES = ("bicycle", "motorcycle")


def an_image(size: tuple[int, int], kind: str = "PNG", **options: object) -> bytes:
    """An encoded image of noise."""
    out = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(out, format=kind, **options)
    return out.getvalue()


def inside(uri: str) -> bytes:
    """The bytes that a data: URI holds."""
    return base64.b64decode(uri.partition("base64,")[2])


def test_a_small_photo_goes_in_as_it_is() -> None:
    """Not a pixel of what the model saw is changed, and none is smoothed."""
    data = an_image((32, 32))
    view = picture(data)
    assert inside(view.uri) == data
    assert view.uri.startswith("data:image/png;")
    assert view.pixelated


@pytest.mark.parametrize("size", [(1200, 800), (300, 4000)])
def test_a_large_photo_becomes_a_thumbnail(size: tuple[int, int]) -> None:
    """A phone's photo does not make the page heavy."""
    view = picture(an_image(size, "JPEG"))
    assert max(Image.open(io.BytesIO(inside(view.uri))).size) <= 160
    assert not view.pixelated


def test_a_thumbnail_is_upright() -> None:
    """The camera's rotation is applied, since the thumbnail no longer says it."""
    exif = Image.Exif()
    exif[0x0112] = 6
    view = picture(an_image((400, 200), "JPEG", exif=exif))
    width, height = Image.open(io.BytesIO(inside(view.uri))).size
    assert height > width


def test_another_format_becomes_one_that_browsers_know() -> None:
    """A TIFF goes in as JPEG."""
    assert picture(an_image((32, 32), "TIFF")).uri.startswith("data:image/jpeg;")


@given(st.binary(max_size=200))
def test_what_is_no_photo_is_an_empty_frame(data: bytes) -> None:
    """Any bytes at all give a data: URI, never an error."""
    assert picture(data).uri.startswith("data:image/")


answers = st.lists(
    st.builds(
        PhotoCard,
        st.just(b""),
        st.text(max_size=3),
        st.sampled_from(CLASSES),
        st.sampled_from(CLASSES),
        st.floats(0.5, 1),
    ),
    max_size=60,
)


@given(answers, st.floats(0.5, 1))
def test_each_row_holds_what_it_says(given_answers: list[PhotoCard], threshold: float) -> None:
    """Surest are right, unsure are below, wrong are wrong; what is hidden is counted."""
    chosen = choose_photos(given_answers, CLASSES, threshold)
    unsure = [answer for answer in given_answers if answer.confidence < threshold]
    wrong = [answer for answer in given_answers if not answer.right]
    assert all(answer.right for answer in chosen.surest)
    assert len(chosen.unsure) + chosen.unsure_hidden == len(unsure)
    assert len(chosen.wrong) + chosen.wrong_hidden == len(wrong)
    assert all(len(row) <= MAX_PHOTOS for row in (chosen.surest, chosen.unsure, chosen.wrong))
    assert [a.confidence for a in chosen.wrong] == sorted((a.confidence for a in chosen.wrong), reverse=True)
