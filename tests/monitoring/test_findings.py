"""What is wrong is said in a subject that SNS takes, and in lines that say what to do."""

import numpy as np

from scones.monitoring.canary import Canary
from scones.monitoring.detectors import Verdict
from scones.monitoring.findings import of_baseline, of_canaries, of_drift, of_release, of_replay
from scones.monitoring.look import Rung
from scones.monitoring.replay import compare

QUIET = Verdict(False, True, 40, 0.5, 1.0, ())
ANSWERS = np.array([[0.2, 0.8], [0.6, 0.4]])


def test_what_is_well_is_no_finding() -> None:
    """Nothing to say."""
    well = (Canary("k", "bicycle", "bicycle"),)
    assert [*of_drift(QUIET, None), *of_replay(compare(ANSWERS, ANSWERS)), *of_canaries(well)] == []
    assert [*of_release("e", "c1", "c1"), *of_baseline("v1", "v1")] == []


def test_each_finding_says_what_which_and_what_to_do() -> None:
    """Subjects of at most 100 ASCII characters; the time, the numbers and the next step in the body."""
    rung = Rung(photo=1040, onset=1012, since="2026-11-23T12:00:00Z")
    found = [
        *of_drift(QUIET, rung),
        *of_replay(compare(ANSWERS, 1 - ANSWERS)),
        *of_canaries(
            (Canary("data/v/test/1.png", "bicycle", "motorcycle"), Canary("data/v/test/2.png", "bicycle", ""))
        ),
        *of_release("scones-dev", "scones-dev--2", "scones-dev--1"),
        *of_release("scones-dev", None, "scones-dev--1"),
        *of_baseline("v1", "v2"),
    ]
    assert [finding.kind for finding in found] == ["drift", "replay", "canary", "release", "release", "release"]
    assert all(len(finding.subject) <= 100 and finding.subject.isascii() for finding in found)
    bodies = [finding.body for finding in found]
    assert "photo 1,012, 2026-11-23T12:00:00Z" in bodies[0]
    assert "after 2 photos" in bodies[1]
    assert "no answer instead of bicycle" in bodies[2]
    assert all("scones " in body for body in bodies[1:])
