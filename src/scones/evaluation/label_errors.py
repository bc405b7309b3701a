"""Label errors: the training photos whose label the model doubts most, for a person to look at; pure."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scones.evaluation.metrics import columns


@dataclass(frozen=True, slots=True)
class Suspect:
    """A photo whose *label* may be wrong: the class that was *predicted* instead, and the probability it was given."""

    name: str
    label: str
    predicted: str
    confidence: float


def rank(
    names: Sequence[str], labels: Sequence[str], probabilities: NDArray[np.float64], classes: Sequence[str]
) -> tuple[Suspect, ...]:
    """Rank the photos that are answered otherwise than they are labelled, the likeliest error first.

    *probabilities* [N, C] must be out of fold: a network that has seen a photo has learnt its label, right or wrong.
    They come by how little is left for the label ("self-confidence", C. Northcutt et al., "Confident learning", 2021).

    Raises:
        CannotEvaluate: these do not fit together.
    """
    truth, predicted = columns(labels, probabilities, classes), probabilities.argmax(axis=1)
    left = probabilities[np.arange(len(truth)), truth]
    doubted = [place for place in np.argsort(left, kind="stable").tolist() if predicted[place] != truth[place]]
    return tuple(
        Suspect(names[place], labels[place], classes[predicted[place]], float(probabilities[place].max()))
        for place in doubted
    )
