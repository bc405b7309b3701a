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
        ood_detector=_LEARNT if outliers else _BY_DISTANCE,
        about=description,
    )


_LEARNT = (
    "The out-of-distribution detector was trained on photos of other things; the share of outliers accepted above\n"
    "  was measured on them, out of fold. It may accept more of things that are unlike any of them."
)
_BY_DISTANCE = (
    "The out-of-distribution detector was trained without photos of other things; it uses only the distance from\n"
    "  the training photos, and accepts many photos of other things."
)

_CARD = """\
# Model card: {title}

Given one photo, this model returns a probability for each class. Its purpose is to route orders to couriers by vehicle.

| | |
|---|---|
| input | `photos`, uint8 [N, {size}, {size}, 3], RGB, squashed to a square |
| outputs | `probabilities`, float32 [N, classes], in the order below; `unfamiliarity`, float32 [N] |
| refuse a photo | when its unfamiliarity exceeds {about.unfamiliar_above:.3f}, as 2% of known photos do out of fold |
| served | `{about.served}` |
| preprocessing | smoothing of noisy photos, more contrast for flat ones |
| network | frozen whitening stem, three convolution stages, linear head; photo and mirror image averaged |
| training | {recipe.epochs} epochs, batches of {recipe.batch}, Muon and SGD, label smoothing {recipe.label_smoothing} |
| auxiliary task | {recipe.turned} photos of each batch, to predict their rotation (0 to 270 degrees) |
| temperature | {about.temperature:.3f}, fitted on out-of-fold predictions |
| data version | {about.data_version} |
| seed | {about.seed} |
| created | {about.created} |

## Training photos

| class | photos |
|---|---|
{photos}
| (other things) | {outliers} |

## Measured on the training photos, out of fold

Each photo was predicted by a network that was not trained on it ({folds} folds), so the figures are a bit pessimistic
for the final network, which is trained on all photos. Accuracy on test photos is measured later, at the endpoint.

| measure | value |
|---|---|
{metrics}

## Limits

- It returns probabilities of its classes for a photo of anything else too, often with high confidence: use
  `unfamiliarity` to detect it.
- {ood_detector}
- Strong noise lowers accuracy, although photos are smoothed if the noise differs between the colors; watch the drift
  report.
- It was trained on photos of whole vehicles. It is not meant to recognize people, license plates or places.
"""
