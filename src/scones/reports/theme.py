"""Theme: page templates, number formats, class colors, inline images, and charts as inline SVG."""

import base64
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jinja2 import BaseLoader, ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from PIL import Image, ImageOps

from scones.domain.text import exact_percent, plural, spaced, with_env

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# matplotlib knows no CSS variables: each role is drawn in a colour of its own, and exchanged in the text.
_ROLES = {
    "#0a0001": "currentColor",
    "#0a0002": "var(--quiet)",
    "#0a0003": "var(--rule)",
    "#0a0004": "var(--paper)",
    "#0a0010": "var(--class-1)",
    "#0a0011": "var(--class-2)",
    "#0a0012": "var(--class-3)",
    "#0a0013": "var(--class-4)",
    "#0a0014": "var(--class-5)",
    "#0a0015": "var(--class-6)",
    "#0a0020": "var(--good)",
    "#0a0021": "var(--unsure)",
    "#0a0022": "var(--bad)",
}
TEXT, QUIET, RULE, PAPER = tuple(_ROLES)[:4]
CLASSES = tuple(_ROLES)[4:10]
"""One colour a class, in the order of the classes; the page shows bicycles and motorcycles in the first two."""
GOOD, UNSURE, BAD = tuple(_ROLES)[10:]

_POINTS_PER_INCH = 72
_STYLE = {
    "axes.axisbelow": True,
    "axes.edgecolor": RULE,
    "axes.grid": True,
    "axes.grid.axis": "x",
    "axes.labelcolor": QUIET,
    "axes.labelsize": 12.5,
    "axes.spines.left": False,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.dpi": _POINTS_PER_INCH,
    "font.size": 12.5,
    "grid.color": RULE,
    "grid.linewidth": 0.7,
    "legend.columnspacing": 1.2,
    "legend.fontsize": 12.5,
    "legend.handlelength": 1.4,
    "legend.handletextpad": 0.5,
    "legend.frameon": False,
    "legend.labelcolor": TEXT,
    "svg.fonttype": "none",
    "svg.hashsalt": "scones",
    "text.color": TEXT,
    # Names of classes come from folders: a dollar sign in one is a dollar sign.
    "text.parse_math": False,
    "xtick.color": RULE,
    "xtick.labelcolor": QUIET,
    "ytick.color": RULE,
    "ytick.labelcolor": TEXT,
    "ytick.major.size": 0,
}


class Canvas:
    """A figure of *width* by *height* points, and its SVG once it is drawn."""

    def __init__(self, width: float, height: float) -> None:
        from matplotlib.figure import Figure  # noqa: PLC0415 - most pages have no chart

        self._figure = Figure(figsize=(width / _POINTS_PER_INCH, height / _POINTS_PER_INCH), layout="constrained")
        self.axes: Axes = self._figure.subplots()

    def svg(self, name: str, description: str) -> Markup:
        """The drawing as inline SVG; *name* keeps its identities apart from other drawings on the page."""
        out = io.StringIO()
        nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
        self._figure.savefig(out, format="svg", transparent=True, metadata=nothing)
        return _inline(out.getvalue(), name, description)


@contextmanager
def canvas(width: float, height: float) -> Iterator[Canvas]:
    """Draw in the report's style; the style ends with the block, and touches no other figure."""
    import matplotlib as mpl  # noqa: PLC0415

    with mpl.rc_context(_STYLE):  # type: ignore[arg-type]
        yield Canvas(width, height)


def _inline(svg: str, name: str, description: str) -> Markup:
    body = svg[svg.index("<svg") :]
    body = re.sub(r'\bid="', f'id="{name}-', body)
    body = re.sub(r'(url\(|href=")#', rf"\1#{name}-", body)
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    # The page's own font and width take over.
    body = re.sub(r"font-family:[^;\"]*;?", "", body)
    body = re.sub(r'<svg [^>]*viewBox="([^"]*)"[^>]*>', _opening(description), body, count=1)
    for colour, role in _ROLES.items():
        body = body.replace(colour, role)
    return Markup(body)  # noqa: S704 - matplotlib escapes the texts that it draws, and we the description


def _opening(description: str) -> str:
    label = escape(description).replace("\\", "")
    space = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    return rf'<svg {space} viewBox="\1" role="img" aria-label="{label}">'


_CLASS_COLOURS = 6


def class_colours(classes: Sequence[str]) -> Mapping[str, str]:
    """The page's colour of each class, in their order."""
    return {label: f"var(--class-{1 + index % _CLASS_COLOURS})" for index, label in enumerate(classes)}


def environment(*others: BaseLoader) -> Environment:
    """The templates, with the words and figures that they share; what comes from files is escaped.

    The templates of *others* come first.
    """
    environment = Environment(
        loader=ChoiceLoader([*others, PackageLoader("scones.reports")]),
        # File names of photos come from anywhere.
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        percent=lambda share: "none" if share is None else f"{100 * share:.1f}%",
        exact_percent=exact_percent,
        number=_number,
        dollars=_dollars,
        money=lambda value: f"{'-' if value < 0 else ''}${abs(value):,.2f}",
        plural=plural,
        words=lambda name: spaced(str(name)),
        with_env=with_env,
        picture=picture,
    )
    return environment


def _number(value: float) -> str:
    """A figure with about three digits, however large it is."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _dollars(value: float) -> str:
    """Dollars with as many places as it takes to see them."""
    if value == 0 or value >= 1:
        return f"${value:,.2f}"
    return f"${value:.4f}" if value >= 0.0001 else "< $0.0001"


MAX_PHOTOS = 16
_INLINE_BYTES = 20_000
_INLINE_SIDE_PIXELS = 128
_THUMBNAIL_PIXELS = 160
_PIXELATED_SIDE_PIXELS = 64
_INLINE_TYPES = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp"}
# One transparent pixel: a photo that cannot be drawn leaves its frame and its words.
_NOTHING = "data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw=="


@dataclass(frozen=True, slots=True)
class Picture:
    """A photo as a data: URI; *pixelated* photos are so small that smoothing would hide the model's input."""

    uri: str
    pixelated: bool


@dataclass(frozen=True, slots=True)
class PhotoCard:
    """One photo, as encoded bytes, with its true class and the prediction for it."""

    photo: bytes
    name: str
    truth: str
    label: str
    confidence: float

    @property
    def right(self) -> bool:
        """Whether the prediction is the true class."""
        return self.label == self.truth


@dataclass(frozen=True, slots=True)
class Gallery:
    """The most confident right predictions of each class, those below the threshold, and the wrong ones.

    Wrong predictions start with the most confident. *unsure* and *wrong* may overlap; *unsure_hidden* and
    *wrong_hidden* count the photos that are not shown.
    """

    surest: tuple[PhotoCard, ...]
    unsure: tuple[PhotoCard, ...]
    wrong: tuple[PhotoCard, ...]
    unsure_hidden: int
    wrong_hidden: int


def choose_photos(cards: Sequence[PhotoCard], classes: Sequence[str], threshold: float) -> Gallery:
    """Choose at most MAX_PHOTOS photos for each row."""
    each = max(1, MAX_PHOTOS // len(classes))
    sure = sorted((card for card in cards if card.right), key=lambda card: -card.confidence)
    unsure = sorted((a for a in cards if a.confidence < threshold), key=lambda card: card.confidence)
    wrong = sorted((card for card in cards if not card.right), key=lambda card: -card.confidence)
    return Gallery(
        surest=tuple(card for label in classes for card in [a for a in sure if a.label == label][:each]),
        unsure=tuple(unsure[:MAX_PHOTOS]),
        wrong=tuple(wrong[:MAX_PHOTOS]),
        unsure_hidden=max(0, len(unsure) - MAX_PHOTOS),
        wrong_hidden=max(0, len(wrong) - MAX_PHOTOS),
    )


def picture(photo: bytes) -> Picture:
    """Turn an encoded photo into a data: URI; large photos become thumbnails to keep the page small."""
    try:
        with Image.open(io.BytesIO(photo)) as image:
            side = max(image.size)
            if image.format in _INLINE_TYPES and len(photo) <= _INLINE_BYTES and side <= _INLINE_SIDE_PIXELS:
                return Picture(_uri(_INLINE_TYPES[image.format], photo), side <= _PIXELATED_SIDE_PIXELS)
            return Picture(_uri("image/jpeg", _thumbnail(image)), pixelated=False)
    except Exception:  # noqa: BLE001 - whatever a decoder raises, the page is written
        return Picture(_NOTHING, pixelated=False)


def _thumbnail(image: Image.Image) -> bytes:
    # A JPEG decoder can skip detail that a thumbnail would throw away.
    image.draft("RGB", (2 * _THUMBNAIL_PIXELS, 2 * _THUMBNAIL_PIXELS))
    small = ImageOps.exif_transpose(image).convert("RGB")
    small.thumbnail((_THUMBNAIL_PIXELS, _THUMBNAIL_PIXELS))
    out = io.BytesIO()
    small.save(out, format="JPEG", quality=85)
    return out.getvalue()


def _uri(content_type: str, data: bytes) -> str:
    return f"data:{content_type};base64,{base64.b64encode(data).decode('ascii')}"
