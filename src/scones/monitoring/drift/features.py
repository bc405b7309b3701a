"""The channels: a few numbers per photo that move when photos or model change."""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from scones.domain.errors import SconesError

FEATURES = (
    "log_odds",
    "certainty",
    "brightness",
    "contrast",
    "sharpness",
    "saturation",
    "red_blue",
    "clipping",
    "noise",
    "top_bottom",
    "left_right",
    "orientation",
    "unfamiliarity",
)
"""The columns of every table of measurements, in this order; a column that could not be measured is NaN throughout."""

PREDICTION_FEATURES = frozenset({"log_odds", "certainty", "unfamiliarity"})
"""The channels that say what the model makes of a photo; the others only look at the photo."""

FEATURE_DESCRIPTIONS: Mapping[str, str] = MappingProxyType(
    {
        "log_odds": "which way the model leans (log-odds)",
        "certainty": "how decided the model is (log-odds margin)",
        "brightness": "mean brightness (grey levels)",
        "contrast": "spread of brightness (grey levels)",
        "sharpness": "fine detail (log variance of the Laplacian)",
        "saturation": "strength of colour (log grey levels)",
        "red_blue": "red against blue (grey levels)",
        "clipping": "share of pixels that are black or burnt out",
        "noise": "grain (log grey levels)",
        "top_bottom": "top brighter than bottom (grey levels)",
        "left_right": "left brighter than right (grey levels)",
        "orientation": "upright edges against lying ones (log ratio)",
        "unfamiliarity": "how unlike the photos it learnt from (the model's own score)",
    }
)
"""What each channel says, in words and with its unit."""

OOD_QUANTILE = 0.9
"""The share of a baseline's photos whose unfamiliarity is not told apart."""

# float32 saturates at 0 and 1; a floor keeps the logarithm finite without moving any real answer.
_FLOOR = 1e-5
_CHUNK_PHOTOS = 256
_BLACK, _BURNT = 2, 253

Floats = NDArray[np.float64]
Photos = NDArray[np.uint8]


class InvalidMeasurement(SconesError):
    """Photos and probabilities do not fit together, or hold values that cannot be measured."""


def clip_ood_score(unfamiliarity: NDArray[np.floating], familiar: float | None = None) -> Floats:
    """Raise the scores [N] to *familiar*, by default the one that nine in ten stay below: what is above is compared.

    A baseline is scored by networks that lack a part of the photos; the one that is served knows them all, and finds
    every photo a little more familiar. That is no change of the traffic.
    """
    scores = np.asarray(unfamiliarity, np.float64)
    return np.maximum(scores, np.quantile(scores, OOD_QUANTILE) if familiar is None else familiar)


def measure_features(
    photos: Photos, probabilities: NDArray[np.floating], unfamiliarity: NDArray[np.floating] | None = None
) -> Floats:
    """Measure every photo: uint8 [N, H, W, 3] RGB and [N, C] probabilities give [N, len(CHANNELS)].

    With two classes the first channel is the log-odds of the second class; with more, of the likeliest one. An
    endpoint's answer does not hold the *unfamiliarity* [N]; the model's second output does.

    Raises:
        BadMeasurement: wrong shapes, or probabilities that are not finite.
    """
    _check_shapes(photos, probabilities)
    table = np.empty((len(photos), len(FEATURES)))
    for start in range(0, len(photos), _CHUNK_PHOTOS):
        rows = slice(start, start + _CHUNK_PHOTOS)
        table[rows, :-1] = np.column_stack([_prediction_features(probabilities[rows]), _pixel_features(photos[rows])])
    table[:, -1] = np.nan if unfamiliarity is None else unfamiliarity
    return table


def _check_shapes(photos: Photos, probabilities: NDArray[np.floating]) -> None:
    if photos.ndim != 4 or photos.shape[3] != 3 or photos.dtype != np.uint8:
        raise InvalidMeasurement(f"photos are {photos.dtype} {photos.shape}, not uint8 [N, H, W, 3]; decode them first")
    if probabilities.ndim != 2 or probabilities.shape[1] < 2 or len(probabilities) != len(photos):
        raise InvalidMeasurement(
            f"probabilities are {probabilities.shape}, not [{len(photos)}, 2 or more]; give one row for each photo"
        )
    if not np.isfinite(probabilities).all():
        raise InvalidMeasurement("some probabilities are not finite; leave those photos out and count them")


def _prediction_features(probabilities: NDArray[np.floating]) -> Floats:
    """Columns: which way the model leans, and by how much it prefers its first choice to its second."""
    floored = np.clip(probabilities.astype(np.float64), _FLOOR, 1 - _FLOOR)
    ranked = np.sort(floored, axis=1)
    margin = np.log(ranked[:, -1] / ranked[:, -2])
    if probabilities.shape[1] == 2:
        return np.column_stack([np.log(floored[:, 1] / floored[:, 0]), margin])
    return np.column_stack([np.log(ranked[:, -1] / (1 - ranked[:, -1])), margin])


def _pixel_features(photos: Photos) -> Floats:
    """Columns: the ten channels that only look at the photo."""
    colour = photos.astype(np.float32)
    grey = colour.mean(axis=3)
    laplacian, grain = _second_differences(grey)
    rows, columns = max(1, grey.shape[1] // 4), max(1, grey.shape[2] // 4)
    return np.column_stack(
        [
            grey.mean(axis=(1, 2)),
            grey.std(axis=(1, 2)),
            np.log1p(laplacian.var(axis=(1, 2))),
            np.log1p((colour.max(axis=3) - colour.min(axis=3)).mean(axis=(1, 2))),
            (colour[..., 0] - colour[..., 2]).mean(axis=(1, 2)),
            ((photos <= _BLACK) | (photos >= _BURNT)).mean(axis=(1, 2, 3)),
            np.log1p(np.abs(grain).mean(axis=(1, 2))),
            grey[:, :rows].mean(axis=(1, 2)) - grey[:, -rows:].mean(axis=(1, 2)),
            grey[:, :, :columns].mean(axis=(1, 2)) - grey[:, :, -columns:].mean(axis=(1, 2)),
            _orientation(grey),
        ]
    ).astype(np.float64)


def _orientation(grey: NDArray[np.float32]) -> NDArray[np.float32]:
    """Steps from column to column against steps from row to row; one grey level keeps flat photos at 0."""
    # Begun with the edge itself, since a photo of one row has no steps between rows.
    across, down = (np.abs(np.diff(grey, axis=axis, prepend=grey.take([0], axis))).mean(axis=(1, 2)) for axis in (2, 1))
    return np.asarray(np.log((across + 1) / (down + 1)))


def _second_differences(grey: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The Laplacian (edges), and its mixed cousin that edges cancel in and grain does not.

    The second is the kernel of J. Immerkær, "Fast noise variance estimation", 1996.
    """
    padded = np.pad(grey, ((0, 0), (1, 1), (1, 1)), mode="edge")
    down = padded[:, :-2] - 2 * padded[:, 1:-1] + padded[:, 2:]
    across = padded[:, :, :-2] - 2 * padded[:, :, 1:-1] + padded[:, :, 2:]
    laplacian = down[:, :, 1:-1] + across[:, 1:-1]
    grain = down[:, :, :-2] - 2 * down[:, :, 1:-1] + down[:, :, 2:]
    return laplacian, grain
