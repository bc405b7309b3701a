"""A plausible report with made-up data, for the tests of what is drawn from it."""

import io
from datetime import UTC, datetime

import numpy as np
import pytest
from PIL import Image

from scones.deployment.pricing import bill, express_usage
from scones.domain.decision import Outcome
from scones.evaluation.business_value import CityDays, Seen
from scones.evaluation.metrics import evaluate_predictions
from scones.reports.demo import render_report
from scones.reports.gallery import PhotoCard
from scones.reports.story import (
    Channel,
    Data,
    DemoReport,
    Dispatch,
    Drift,
    DriftCheck,
    Run,
    Trip,
    VehicleLine,
)

CLASSES = ("bicycle", "motorcycle")
THRESHOLD = 0.8


def a_photo(seed: int, light: float = 1.0, size: int = 32) -> bytes:
    """A PNG of coloured noise on a gradient."""
    rng = np.random.default_rng(seed)
    pixels = np.linspace(60, 200, size)[:, None, None] * rng.uniform(0.5, 1, 3) + rng.normal(0, 18, (size, size, 3))
    out = io.BytesIO()
    Image.fromarray(np.clip(light * pixels, 0, 255).astype(np.uint8)).save(out, format="PNG")
    return out.getvalue()


def answers(count: int = 200, seed: int = 0) -> tuple[PhotoCard, ...]:
    """Answers of a model that is right about nineteen times in twenty."""
    rng = np.random.default_rng(seed)
    made = []
    for index in range(count):
        truth = CLASSES[index % 2]
        confidence = float(np.clip(rng.beta(9, 1.1), 0.5, 0.999))
        right = rng.random() < confidence + 0.02
        label = truth if right else CLASSES[1 - index % 2]
        made.append(PhotoCard(a_photo(index), f"{truth}_{index:05d}.png", truth, label, confidence))
    return tuple(made)


def probabilities(given: tuple[PhotoCard, ...]) -> np.ndarray:
    """The answers as a table of two columns."""
    rows = [
        (a.confidence, 1 - a.confidence) if a.label == CLASSES[0] else (1 - a.confidence, a.confidence) for a in given
    ]
    return np.array(rows)


def runs(given: tuple[PhotoCard, ...], clients: int = 8) -> tuple[Run, ...]:
    """Executions of so many clients, one after the other in each."""
    rng = np.random.default_rng(0)
    free = [0.0] * clients
    made = []
    for answer in given:
        client = int(np.argmin(free))
        took = float(rng.gamma(12, 0.006))
        outcome = Outcome.CLASSIFIED if answer.confidence >= THRESHOLD else Outcome.BELOW_THRESHOLD
        made.append(Run(free[client], free[client] + took, outcome))
        free[client] += took + 0.002
    return tuple(made)


def a_check(photos: int, alarm: bool) -> DriftCheck:
    """A verdict on a batch, with the channels that darkness moves first."""
    scores = (18.2, 15.5, 11.0, 6.4, 2.1, 1.0, 0.6, 0.3, -0.2, -0.4, -1.1) if alarm else (0.9, 0.7, 0.5, *[-0.2] * 8)
    meanings = {
        "sharpness": ("fine detail (log variance of the Laplacian)", 8.31, 5.02),
        "brightness": ("mean brightness (grey levels)", 128.4, 70.9),
        "contrast": ("spread of brightness (grey levels)", 61.2, 30.4),
        "noise": ("grain (log grey levels)", 3.4, 1.2),
        "certainty": ("how decided the model is (log-odds margin)", 3.9, 2.2),
        "saturation": ("strength of colour (log grey levels)", 3.5, 2.9),
        "clipping": ("share of pixels that are black or burnt out", 0.05, 0.01),
        "red_blue": ("red against blue (grey levels)", 7.1, 4.0),
        "log_odds": ("which way the model leans (log-odds)", 0.3, -0.2),
        "top_bottom": ("top brighter than bottom (grey levels)", 11.0, 7.2),
        "left_right": ("left brighter than right (grey levels)", 0.4, 0.1),
    }
    channels = tuple(
        Channel(name, meaning, before, now if alarm else before * 1.01, score)
        for (name, (meaning, before, now)), score in zip(meanings.items(), scores, strict=True)
    )
    return DriftCheck(photos, True, alarm, 161.0 if alarm else 1.1, 2.5, 0.0001 if alarm else 0.31, channels)


def a_dispatch(seed: int = 3) -> Dispatch:
    """A few dozen trips, short ones by bicycle and long ones by motorcycle."""
    rng = np.random.default_rng(seed)
    trips = []
    for index in range(34):
        vehicle = ("bicycle", "motorcycle", "bicycle", "motorcycle", "unsure")[index % 5]
        reach = {"bicycle": 1.8, "motorcycle": 5.0, "unsure": 3.0}[vehicle]
        courier, pickup = rng.normal(0, 2.2, 2), rng.normal(0, 2.0, 2)
        turn = rng.uniform(0, 2 * np.pi)
        dropoff = pickup + reach * np.array([np.cos(turn), np.sin(turn)]) * rng.uniform(0.6, 1.4)
        trips.append(Trip(vehicle, tuple(courier), tuple(pickup), tuple(dropoff)))
    return Dispatch(
        trips=tuple(trips),
        idle=(("bicycle", (3.0, -4.0)), ("motorcycle", (-4.0, 2.5))),
        left=(
            ((5.0, 5.0), "every courier who may take it is full"),
            ((-6.0, 4.0), "every courier who may take it is full"),
        ),
        totals=(
            VehicleLine("bicycle", 12, 14, 1.8, 14.2),
            VehicleLine("motorcycle", 11, 14, 5.2, 17.9),
            VehicleLine("unsure", 5, 6, 3.0, 21.0),
        ),
    )


def seen(name: str, accuracy: float, threshold: float, on_time: float, unsure: float = 0) -> Seen:
    """One way to see the couriers, with figures around it."""
    return Seen(name, accuracy, threshold, unsure, on_time, 0.012, 9 * (1 - on_time), 6.2, 0.1 * (1 - on_time))


def a_city() -> CityDays:
    """Days in the city: three thresholds, four imagined classifiers each."""
    imagined = (
        (0.5, (0.87, 0.9, 0.93, 0.95)),
        (0.8, (0.6, 0.85, 0.92, 0.95)),
        (0.95, (0.4, 0.55, 0.86, 0.94)),
    )
    return CityDays(
        couriers=160,
        orders=2900,
        days=3,
        perfect=seen("perfect knowledge", 1, 0.5, 0.96),
        blind=seen("no classifier", 0, 0.5, 0.81),
        reviewed=seen("this model, the unsure looked at", 0.945, THRESHOLD, 0.95, 0.12),
        measured=tuple(
            seen("this model", 0.945, threshold, value, value / 9)
            for threshold, value in ((0.5, 0.944), (0.8, 0.942), (0.95, 0.9))
        ),
        imagined=tuple(
            seen("imagined", accuracy, threshold, value)
            for threshold, values in imagined
            for accuracy, value in zip((0.7, 0.8, 0.9, 0.97), values, strict=True)
        ),
    )


def a_report(rendered: bool = False) -> DemoReport:
    """The whole story."""
    given = answers()
    labels = [answer.truth for answer in given]
    dark = tuple(
        (a, PhotoCard(a_photo(i, 0.45), a.name, a.truth, a.label, max(0.5, a.confidence - 0.25)))
        for i, a in enumerate(given[:8])
    )
    return DemoReport(
        created=datetime(2026, 11, 23, 12, 0, tzinfo=UTC),
        data=Data(
            name="built-in sample" if rendered else "cifar100-two-wheelers",
            kind="rendered" if rendered else "photos",
            classes=CLASSES,
            train=1000,
            test=200,
            left_out=(
                ("train/bicycle/<b>torn</b>.png", "is cut off after 812 bytes"),
                ("train/notes.txt", "is not an image"),
            ),
        ),
        evaluation=evaluate_predictions(labels, probabilities(given), CLASSES, THRESHOLD),
        answers=given,
        runs=runs(given),
        drift=Drift(0.001, a_check(200, alarm=False), a_check(100, alarm=True), dark),
        dispatch=a_dispatch(),
        city=a_city(),
        steps={
            "local cloud": 1.8,
            "stage": 6.4,
            "train": 47.2,
            "up": 5.1,
            "deploy": 3.9,
            "classify": 2.6,
            "evaluate": 1.1,
            "monitor": 1.9,
            "monitor, after a shift": 3.3,
            "dispatch": 0.2,
            "down": 4.4,
        },
        bill=bill(
            {
                **express_usage(300, 24),
                "training:ml.m5.large": 47.2 / 3600,
                "endpoint:ml.m5.large": 40 / 3600,
                "lambda_request": 900,
                "lambda_gigabyte_second": 11,
                "s3_put": 1450,
                "s3_get": 1800,
                "sns_publish": 25,
            }
        ),
        footer={
            "Scones": "0.1.0",
            "Python": "3.11.7",
            "seed": "0",
            "data version": "5be1c0ffee12",
            "model version": "a1b2c3d4e5f6",
        },
    )


@pytest.fixture(scope="session")
def demo_report() -> DemoReport:
    """The report of a run on photos."""
    return a_report()


@pytest.fixture(scope="session")
def sample_report() -> DemoReport:
    """The report of a run on the rendered sample."""
    return a_report(rendered=True)


@pytest.fixture(scope="session")
def page() -> str:
    """The report of a run on photos, rendered once for all that only read it."""
    return render_report(a_report())
