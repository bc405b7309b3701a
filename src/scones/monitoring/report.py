"""Alert: say what changed, how sure that is and what to do, to a person who was asleep a minute ago."""

import base64
import io
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image

from scones.monitoring.channels import ANSWERS, MEANINGS, Photos
from scones.monitoring.detectors import ChannelShift, Verdict
from scones.monitoring.scores import MIN_PHOTOS

Cause = Literal["photos", "answers", "mixture"]

MOST_EXAMPLES = 12
_SUBJECT_CHARACTERS = 100
_TOP_CHANNELS = 3
_TOP_WORDS = 4
_LESS_AND_MORE = {
    "log_odds": ("more of the first class", "more of the last class"),
    "certainty": ("less certain", "more certain"),
    "brightness": ("darker", "brighter"),
    "contrast": ("less contrast", "more contrast"),
    "sharpness": ("blurred", "sharper"),
    "saturation": ("paler", "more colourful"),
    "red_blue": ("bluer", "redder"),
    "clipping": ("less clipped", "more black or burnt out"),
    "noise": ("less grain", "more grain"),
    "top_bottom": ("brighter below", "brighter above"),
    "left_right": ("brighter on the right", "brighter on the left"),
    "orientation": ("more lying edges", "more upright edges"),
    "unfamiliarity": ("more familiar", "more unfamiliar"),
}


@dataclass(frozen=True, slots=True)
class Scene:
    """Where and when: the endpoint, the times of the batch's first and last photo, and some of its photos, decoded."""

    endpoint: str = ""
    since: str = ""
    until: str = ""
    examples: Photos | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """One channel in words: what it says, its medians, and which way it went."""

    meaning: str
    before: float
    now: float
    word: str


def render_alert(verdict: Verdict, scene: Scene | None = None) -> str:
    """Render the alert as one HTML page that needs no network."""
    scene = scene or Scene()
    environment = Environment(
        loader=PackageLoader("scones.monitoring"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters["number"] = _number
    return environment.get_template("alert.html.j2").render(
        verdict=verdict,
        scene=scene,
        subject=summarise(verdict).splitlines()[0],
        changes=changes(verdict),
        words=", ".join(_words(verdict)),
        cause=cause(verdict),
        odds=_odds(verdict),
        examples=[] if scene.examples is None else [_uri(photo) for photo in scene.examples[:MOST_EXAMPLES]],
    )


def summarise(verdict: Verdict) -> str:
    """Put the verdict into a notice: one ASCII line of at most 100 characters, and a body of a few more.

    SNS takes nothing longer, and nothing else, as a subject.
    """
    if not verdict.enough:
        return (
            f"Scones: not enough photos for a verdict ({verdict.photos})\n"
            f"A check needs {MIN_PHOTOS} photos and a baseline of twice as many."
        )
    if not verdict.alarm:
        return (
            f"Scones: no drift in {verdict.photos} photos\n"
            f"Score {_number(verdict.score)}, alarm line {_number(verdict.threshold)}."
        )
    subject = _subject(verdict)
    lines = [f"{c.meaning}: {_number(c.before)} -> {_number(c.now)} ({c.word})" for c in changes(verdict)]
    lines.append(f"Score {_number(verdict.score)}, alarm line {_number(verdict.threshold)}; {_odds(verdict)}.")
    return "\n".join([subject, *lines])


def changes(verdict: Verdict) -> tuple[Change, ...]:
    """The three channels that changed most, in words."""
    return tuple(
        Change(MEANINGS[shift.name], shift.before, shift.now, _word(shift))
        for shift in verdict.channels[:_TOP_CHANNELS]
    )


def cause(verdict: Verdict) -> Cause:
    """Where to look first: at the photos, or, where only the answers moved, at the model and its customers."""
    loud = [shift.name for shift in verdict.channels if shift.score > verdict.threshold]
    if not loud:
        return "mixture"
    return "answers" if ANSWERS.issuperset(loud) else "photos"


def _subject(verdict: Verdict) -> str:
    """Say how the photos changed, in as many whole words as a subject line holds."""
    words = list(_words(verdict))
    while True:
        subject = f"Scones: photos have changed: {', '.join(words)} ({verdict.photos} photos)"
        if len(subject) <= _SUBJECT_CHARACTERS or not words:
            return subject
        words.pop()


def _words(verdict: Verdict) -> Iterable[str]:
    return dict.fromkeys(_word(shift) for shift in verdict.channels[:_TOP_WORDS])


def _word(shift: ChannelShift) -> str:
    less, more = _LESS_AND_MORE[shift.name]
    return more if shift.now > shift.before else less if shift.now < shift.before else "wider or narrower"


def _odds(verdict: Verdict) -> str:
    return f"at most 1 in {float(f'{1 / verdict.chance:.2g}'):,.0f} clean batches scores so high"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _uri(photo: Photos) -> str:
    out = io.BytesIO()
    Image.fromarray(photo).save(out, format="PNG")
    return f"data:image/png;base64,{base64.b64encode(out.getvalue()).decode('ascii')}"
