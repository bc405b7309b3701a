"""Findings: what is wrong, in the words of a notice: a subject that SNS takes, and a few lines that say what to do."""

from collections.abc import Iterator, Sequence

from scones.monitoring.canary import Canary
from scones.monitoring.detectors import Verdict
from scones.monitoring.latch import Finding
from scones.monitoring.look import Rung
from scones.monitoring.replay import Replayed
from scones.monitoring.report import changes, summarise


def of_drift(verdict: Verdict, rung: Rung | None) -> Iterator[Finding]:
    """Photos or answers have changed, by the window's check or by the stream's detector."""
    since = ""
    if rung:
        at = f", {rung.since}" if rung.since else ""
        since = f"Since about photo {rung.onset:,}{at}; found at photo {rung.photo:,}, of all that were ever watched."
    if verdict.alarm:
        subject, _, body = summarise(verdict).partition("\n")
        yield Finding("drift", subject, "\n".join(filter(None, (body, since))))
    elif rung:
        told = [f"{change.meaning}: {change.before:.3g} -> {change.now:.3g}" for change in changes(verdict)]
        yield Finding(
            "drift",
            f"Scones: photos have changed, slowly or a little, by photo {rung.photo:,}",
            "\n".join([since, *told]),
        )


def of_replay(replayed: Replayed) -> Iterator[Finding]:
    """Another model answered."""
    if replayed.another_model:
        yield Finding(
            "replay",
            f"Scones: {len(replayed.mismatches)} of {replayed.photos} answers are not the registered model's",
            f"Certain after {replayed.found_after} photos; the probabilities differ by up to {replayed.largest:.2f}. "
            "Another model is behind the endpoint, or photos are prepared in another way. Put it right with: "
            "scones deploy",
        )


def of_canaries(canaries: Sequence[Canary]) -> Iterator[Finding]:
    """Photos that the registered model knows were answered wrongly, or not."""
    wrong = [canary for canary in canaries if not canary.right]
    if wrong:
        lines = [f"{canary.key}: {canary.answer or 'no answer'} instead of {canary.label}" for canary in wrong]
        lines.append("The registered model knows these photos. Look at the endpoint: scones status")
        yield Finding(
            "canary",
            f"Scones: the endpoint answers {len(wrong)} of {len(canaries)} known photos wrongly",
            "\n".join(lines),
        )


def of_release(endpoint: str, serves: str | None, deployed: str) -> Iterator[Finding]:
    """Another configuration at *endpoint* than was *deployed* last; *serves* is None where the endpoint is gone."""
    if serves is None:
        yield Finding("release", f"Scones: endpoint {endpoint} is gone", "Bring it back with: scones deploy")
    elif serves != deployed:
        yield Finding(
            "release",
            f"Scones: endpoint {endpoint} serves another model than was deployed",
            f"It has the configuration {serves}; deployed last was {deployed}, and photos are compared with the "
            "baseline of that one's model. Put it right with: scones deploy",
        )


def of_baseline(baseline: str, model: str) -> Iterator[Finding]:
    """A baseline measured on photos of another version than the model was trained on."""
    if baseline != model:
        yield Finding(
            "release",
            "Scones: the baseline is of other photos than the model was trained on",
            f"The baseline says {baseline}, the model {model}; no verdict on drift can be trusted. "
            "Train again with: scones train",
        )
