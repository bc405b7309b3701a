"""Subject: what a model file says of the model under study, and which photos may not judge it."""

from collections.abc import Sequence

from scones.domain.progress import Reporter
from scones.evaluation.examination import CannotEvaluate, Shown
from scones.evaluation.model_client import decoded
from scones.evaluation.study import ModelFacts
from scones.model.model_file import ModelFile
from scones.model.out_of_fold import OutOfFold


def facts_of(model_file: ModelFile, name: str) -> ModelFacts:
    """Gather what the page and the figures say of the model, which is called *name* there."""
    return ModelFacts(
        name=name,
        version=model_file.version,
        data_version=model_file.data_version,
        created=model_file.created,
        temperature=model_file.temperature,
        image_size=model_file.image_size,
        classes=model_file.classes,
        unfamiliar_above=model_file.unfamiliar_above,
    )


def answers_kept(model_file: ModelFile, report: Reporter) -> OutOfFold | None:
    """Read the out-of-fold answers, or say what it means that there are none."""
    known = OutOfFold.kept(model_file)
    if known is None:
        report.tell("this model file keeps no out-of-fold answers: the threshold is chosen on half the test photos,")
        report.tell("and whether the model has learnt from some of them is not known; training again mends both")
    return known


def unseen(known: OutOfFold | None, photos: Sequence[Shown], size: int, report: Reporter) -> tuple[Shown, ...]:
    """Leave out the photos that the model has learnt from, and say so.

    Raises:
        CannotEvaluate: none is left.
    """
    if known is None or not photos:
        return tuple(photos)
    learnt = known.learnt_from(decoded([photo.data for photo in photos], size))
    if learnt.any():
        report.tell(f"{learnt.sum()} of {len(photos)} test photos are left out: the model has learnt from them")
    if learnt.all():
        raise CannotEvaluate("the model has learnt from every one of these test photos; judge it by others")
    return tuple(photo for photo, seen in zip(photos, learnt, strict=True) if not seen)
