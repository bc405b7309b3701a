"""Next steps: what to do about an alarm, in order, for somebody who was asleep a minute ago."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from scones.monitoring.cause import Cause


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do, and the command for it, if there is one."""

    text: str
    command: str = ""


_RETRAIN = Step(
    "If photos like these are here to stay, label some and add them to the training photos. Then, one after the other:",
    "scones stage FOLDER && scones train && scones deploy",
)
_SAFER = Step("Until then, let people decide more often: raise the threshold.", "scones up --threshold 0.95")
_STEPS: Mapping[Cause, tuple[Step, ...]] = MappingProxyType(
    {
        Cause.MODEL: (
            Step("Put the registered model back: it is the one that was deployed last, by the books.", "scones deploy"),
            Step("See what stands, and ask who changed the endpoint.", "scones status"),
            Step("Judge it once it is back. Answers given since the onset are not to be trusted.", "scones evaluate"),
        ),
        Cause.QUALITY: (
            Step("Look at the photos: can you see it? A dirty lens, night, a new camera or app version?"),
            Step("Mend it where the photos are taken: most often nothing is wrong with the model."),
            _SAFER,
            _RETRAIN,
        ),
        Cause.UNFAMILIAR: (
            Step("Look at the photos: what do they show? Another vehicle, a document, a hand before the lens?"),
            Step("Does somebody send what does not belong here? Stop it at the source; the guard refuses the oddest."),
            _SAFER,
            _RETRAIN,
        ),
        Cause.MIX: (
            Step("Nothing is broken by itself: other couriers send photos than before. Ask whether that is known."),
            Step("If it stays so, train on photos in that proportion. Then, one after the other:", _RETRAIN.command),
        ),
        Cause.UNCLEAR: (
            Step("Look at the photos: what have they in common?"),
            Step("Label the photos listed below: thirty labels tell what no statistics can."),
            _SAFER,
        ),
    }
)
_ACKNOWLEDGE = Step("When it is dealt with, acknowledge it; until then no other of its kind rings.")


def next_steps(cause: Cause) -> tuple[Step, ...]:
    """Say what to do, in order."""
    return (*_STEPS[cause], Step(_ACKNOWLEDGE.text, "scones monitor --acknowledge"))
