"""Explanations of a prediction: where in the photo, like which training photos, why refused, and what would change it.

The class scores are linear in the pooled maps of the backbone, so each place's share of the log-odds is exact: no
photo is altered, and no second pass is needed (class activation mapping, Zhou et al. 2016, extended to every pooled
layer).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from scones.model.out_of_fold import OutOfFoldPredictions

Floats = NDArray[np.float64]

EXPLANATION_OUTPUTS: Final = ("logits", "evidence", "nearest", "similarity")
"""The model's further outputs that explanations need; a registered model from elsewhere may lack some."""
MAX_NEIGHBORS: Final = 3


@dataclass(frozen=True, slots=True)
class Neighbor:
    """A training photo that resembles the photo; *similarity* is the cosine of their features, up to 1."""

    name: str
    label: str
    similarity: float


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why the model prefers *label* to *runner_up*.

    The log-odds of the two, before calibration limits them, are *offset* plus the sum of *evidence* [G, G], one number
    for each place of the photo, row 0 at the top. *evidence* is None for a model without such maps. *flip* [G, G]
    marks the fewest places without whose support the runner-up would win; None if no such places exist.
    """

    label: str
    runner_up: str
    log_odds: float
    offset: float
    evidence: Floats | None
    flip: NDArray[np.bool_] | None
    neighbors: tuple[Neighbor, ...]
    ood_score: float | None
    ood_threshold: float | None

    @property
    def out_of_distribution(self) -> bool:
        """Whether the photo is refused because it resembles the training photos too little."""
        return self.ood_score is not None and self.ood_threshold is not None and self.ood_score > self.ood_threshold

    def flip_share(self) -> float | None:
        """Return the share of the photo, 0 to 1, without which the runner-up would win."""
        return None if self.flip is None else float(self.flip.mean())

    def sentences(self) -> tuple[str, ...]:
        """Say the explanation in words."""
        said = []
        if self.out_of_distribution:
            said.append(
                f"refused: its distance from the training photos is {self.ood_score:.3g}, over the limit of "
                f"{self.ood_threshold:.3g}"
            )
        share = self.flip_share()
        if share is not None:
            said.append(f"without {share:.0%} of the photo the prediction would be {self.runner_up}")
        elif self.evidence is not None:
            said.append(f"no part of the photo decides it alone: without any, the prediction would stay {self.label}")
        if self.neighbors:
            alike = ", ".join(f"{item.label} ({item.similarity:.2f})" for item in self.neighbors)
            said.append(f"most similar training photos: {alike}")
        return tuple(said)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values, as the endpoint responds."""
        return {
            "label": self.label,
            "runner_up": self.runner_up,
            "log_odds": _short(self.log_odds),
            "offset": _short(self.offset),
            "evidence": None if self.evidence is None else [[_short(value) for value in row] for row in self.evidence],
            "flip_share": self.flip_share(),
            "neighbors": [
                {"name": item.name, "label": item.label, "similarity": _short(item.similarity)}
                for item in self.neighbors
            ],
        }


def explain(
    outputs: Mapping[str, NDArray[Any]],
    classes: Sequence[str],
    training: OutOfFoldPredictions | None,
    ood_threshold: float | None,
) -> list[Explanation]:
    """Explain each of N photos from the model's *outputs*: `probabilities` and those of EXPLANATION_OUTPUTS there are.

    *training* names the photos that the output `nearest` counts.
    """
    probabilities = np.asarray(outputs["probabilities"], np.float64)
    return [_explain(outputs, row, classes, training, ood_threshold) for row in range(len(probabilities))]


def _explain(
    outputs: Mapping[str, NDArray[Any]],
    row: int,
    classes: Sequence[str],
    training: OutOfFoldPredictions | None,
    ood_threshold: float | None,
) -> Explanation:
    probabilities = np.asarray(outputs["probabilities"][row], np.float64)
    first, second = np.argsort(-probabilities, kind="stable")[:2]
    tiny = np.finfo(np.float64).tiny
    log_odds = float(np.log(max(probabilities[first], tiny)) - np.log(max(probabilities[second], tiny)))
    evidence = flip = None
    if "logits" in outputs:
        logits = np.asarray(outputs["logits"][row], np.float64)
        log_odds = float(logits[first] - logits[second])
    if "evidence" in outputs:
        maps = np.asarray(outputs["evidence"][row], np.float64)
        evidence = maps[first] - maps[second]
        flip = decisive_places(evidence, log_odds)
    score = outputs.get("unfamiliarity")
    return Explanation(
        label=classes[first],
        runner_up=classes[second],
        log_odds=log_odds,
        offset=log_odds - (0.0 if evidence is None else float(evidence.sum())),
        evidence=evidence,
        flip=flip,
        neighbors=_neighbors(outputs, row, training),
        ood_score=None if score is None else float(score[row]),
        ood_threshold=ood_threshold,
    )


def decisive_places(evidence: Floats, log_odds: float) -> NDArray[np.bool_] | None:
    """Mark the fewest places whose evidence, taken away, turns positive *log_odds* negative; None if none suffice.

    The places with the most evidence, taken first, are the fewest, because each counts by itself.
    """
    flat = evidence.ravel()
    order = np.argsort(-flat, kind="stable")
    remaining = log_odds - np.cumsum(flat[order])
    crossed = np.flatnonzero(remaining < 0)
    if not len(crossed):
        return None
    marked = np.zeros(len(flat), np.bool_)
    marked[order[: crossed[0] + 1]] = True
    return marked.reshape(evidence.shape)


def _neighbors(
    outputs: Mapping[str, NDArray[Any]], row: int, training: OutOfFoldPredictions | None
) -> tuple[Neighbor, ...]:
    reference = None if training is None else training.reference
    if training is None or reference is None or "nearest" not in outputs or "similarity" not in outputs:
        return ()
    pairs = zip(outputs["nearest"][row][:MAX_NEIGHBORS], outputs["similarity"][row], strict=False)
    return tuple(
        Neighbor(training.names[reference[index]], training.labels[reference[index]], float(similarity))
        for index, similarity in pairs
    )


def _short(value: float) -> float:
    return float(f"{value:.6g}")
