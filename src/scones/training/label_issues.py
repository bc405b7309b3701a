"""Label errors: the training photos whose label the model doubts most, for a person to look at; pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from scones.model.out_of_fold import OutOfFoldPredictions, label_columns

T = TypeVar("T")
NEIGHBOURS: Final = 40
"""The photos most like one that have a vote on its label; 30 to 60 of them find the same errors."""
_FEWEST_SHARE: Final = 4
_ROWS: Final = 256

NeighborVotes = NDArray[np.float64]
"""Of each photo, the share of votes for each class, [N, C]."""


@dataclass(frozen=True, slots=True)
class SuspectLabel:
    """A photo whose *label* may be wrong: what was *predicted* instead, and its share of votes, or probability."""

    name: str
    label: str
    predicted: str
    confidence: float


def neighbor_votes(
    features: NDArray[np.float32], labels: NDArray[np.int64], probabilities: NDArray[np.float64]
) -> NeighborVotes:
    """Let the photos most like each one vote on its class: shares [N, C], which add up to 1.

    *features* [N, F] have rows of length 1, *labels* [N] are class numbers. The out-of-fold *probabilities* [N, C]
    count as much as all votes together. A wrong label misleads the head that learns it, but does not move the photo
    away from others of its kind: Z. Zhu et al., "Detecting corrupted labels without training a model", 2022.
    """
    classes = probabilities.shape[1]
    smallest = int(np.bincount(labels, minlength=classes).min())
    # A class must be able to win the vote on its own photos.
    voters = max(1, min(NEIGHBOURS, smallest // _FEWEST_SHARE))
    ballots, found = np.eye(classes)[labels], np.empty((len(labels), classes))
    for start in range(0, len(labels), _ROWS):
        rows = np.arange(start, min(start + _ROWS, len(labels)))
        likeness = features[rows] @ features.T
        likeness[np.arange(len(rows)), rows] = -np.inf
        nearest = np.argpartition(-likeness, voters - 1, axis=1)[:, :voters]
        found[rows] = ballots[nearest].sum(axis=1)
    return np.asarray((found / voters + probabilities) / 2)


def rank_label_issues(
    names: Sequence[str],
    labels: Sequence[str],
    probabilities: NDArray[np.float64],
    classes: Sequence[str],
    votes: NeighborVotes | None = None,
) -> tuple[SuspectLabel, ...]:
    """Rank the photos that are taken for something else than they are labelled, the likeliest error first.

    *probabilities* [N, C] must be out of fold: a network that has seen a photo has learnt its label, right or wrong.
    Whatever these or the *votes* contradict is a suspect. They come by how little the votes, or else the probabilities,
    leave for the label ("self-confidence", C. Northcutt et al., "Confident learning", 2021).

    Raises:
        InvalidLabelledPredictions: these do not fit together.
    """
    truth = label_columns(labels, probabilities, classes)
    opinion = probabilities if votes is None else votes
    places = np.arange(len(truth))
    left, others = opinion[places, truth], opinion.copy()
    others[places, truth] = -np.inf
    instead = others.argmax(axis=1)
    contradicted = (probabilities.argmax(axis=1) != truth) | (opinion.argmax(axis=1) != truth)
    return tuple(
        SuspectLabel(names[place], labels[place], classes[instead[place]], float(opinion[place, instead[place]]))
        for place in np.argsort(left, kind="stable").tolist()
        if contradicted[place]
    )


def find_suspects(
    known: OutOfFoldPredictions, contents: Mapping[str, str], staged: Mapping[tuple[str, str], T]
) -> tuple[tuple[T, SuspectLabel], ...] | None:
    """Find those of the *staged* photos whose label a model contradicts, the likeliest error first.

    *contents* are the SHA-256 of the photos that the model was trained on, by name, and *staged* has a photo for its
    SHA-256 and label: the photos staged now may be others with the same names, and their labels corrected since. None
    if the model knows none of them.
    """
    photos: dict[str, T] = {}
    for name, label in zip(known.names, known.labels, strict=True):
        photo = staged.get((contents.get(name, ""), label))
        if photo is not None:
            photos[name] = photo
    if not photos:
        return None
    suspects = rank_label_issues(known.names, known.labels, known.probabilities, known.classes, known.votes)
    return tuple((photos[it.name], it) for it in suspects if it.name in photos)
