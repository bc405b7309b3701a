"""The model card: what a model is for, how it was made and what it cannot do, in Markdown."""

from collections import Counter
from collections.abc import Sequence

from scones.model.model_file import ModelDescription
from scones.training.cross_validation import FOLDS
from scones.training.recipe import Recipe


def model_card(description: ModelDescription, labels: Sequence[int], outliers: int, recipe: Recipe) -> str:
    """Write the card of a model that was trained on photos with these *labels* (class numbers), and so many others."""
    counts = Counter(labels)
    names = description.classes
    photos = "\n".join(f"| {name} | {counts[number]} |" for number, name in enumerate(names))
    metrics = "\n".join(f"| {name} | {value:.4f} |" for name, value in description.metrics.items())
    return _CARD.format(
        title=" or ".join(names) if len(names) <= 4 else f"{len(names)} classes",
        size=description.image_size,
        photos=photos,
        metrics=metrics,
        folds=FOLDS,
        recipe=recipe,
        outliers=outliers,
        guard=_LEARNT if outliers else _BY_DISTANCE,
        about=description,
    )


_LEARNT = (
    "The guard learnt from photos of other things, which the share of outliers accepted above was measured on, out of\n"
    "  fold; of things unlike any of them it may accept more."
)
_BY_DISTANCE = (
    "The guard had no photos of other things to learn from; it goes by the distance from training photos alone, and\n"
    "  accepts many photos of ordinary things."
)

_CARD = """\
# Model card: {title}

Given one photo, this model gives a probability for each class. It was made to route orders to couriers by vehicle.

| | |
|---|---|
| input | `photos`, uint8 [N, {size}, {size}, 3], RGB, squashed to a square |
| outputs | `probabilities`, float32 [N, classes], in the order below; `unfamiliarity`, float32 [N] |
| refuse a photo | when its unfamiliarity exceeds {about.unfamiliar_above:.3f}, as 2% of known photos do out of fold |
| served | `{about.served}` |
| before it | noise smoothed where there is much, contrast lifted where there is little |
| network | frozen whitening stem, three convolution stages, linear head; photo and mirror image averaged |
| training | {recipe.epochs} epochs, batches of {recipe.batch}, Muon and SGD, label smoothing {recipe.label_smoothing} |
| beside it | {recipe.turned} photos of each batch turned by quarters, to be told by how many |
| temperature | {about.temperature:.3f}, fitted on out-of-fold answers |
| data version | {about.data_version} |
| seed | {about.seed} |
| created | {about.created} |

## Training photos

| class | photos |
|---|---|
{photos}
| (other things) | {outliers} |

## Measured on the training photos, out of fold

Each photo was answered by a network that had not seen it ({folds} folds), so these figures are a little pessimistic for
the final network, which learnt from all photos. Accuracy on test photos is measured later, at the endpoint.

| measure | value |
|---|---|
{metrics}

## Limits

- Its probabilities are always those of its classes, for a photo of anything else too. Confidence is no guard: heed
  `unfamiliarity`.
- {guard}
- Strong noise costs accuracy, though photos are smoothed first where the noise differs between the colours; watch the
  drift report.
- It has seen whole vehicles. People, plates and places in photos play no part in what it is for.
"""
