import pytest

from scones.data.manifest import Sample
from scones.domain.progress import Silent
from scones.pipeline import Pipeline
from scones.steps.evaluate import NothingToEvaluate, evaluate
from tiny_model import plain_photo, probability


def staged(flow: Pipeline, levels: dict[int, str]) -> list[Sample]:
    """Put test photos of these gray levels, with these labels, into the bucket."""
    uploads = [(flow.upload(f"{level}.png", plain_photo(level)), label) for level, label in levels.items()]
    return [Sample(sample.key, label, "test", sample.sha256) for sample, label in uploads]


def test_the_figures_are_those_of_the_endpoints_own_answers(flow: Pipeline) -> None:
    """Two of three right, and the confusion matrix says which was wrong."""
    samples = staged(flow, {40: "bicycle", 220: "motorcycle", 200: "bicycle"})
    result = evaluate(flow.aws, flow.settings, flow.aws.name, samples, Silent())
    assert result.metrics.n == 3
    assert result.metrics.accuracy == pytest.approx(2 / 3)
    assert result.metrics.confusion == ((1, 1), (0, 1))
    assert result.probabilities[1][1] == pytest.approx(probability(220), abs=1e-5)


def test_training_photos_are_never_evaluated(flow: Pipeline) -> None:
    """A figure on photos that the model learnt from would flatter it."""
    learnt = [Sample("data/x/train/a.png", "bicycle", "train", "0" * 64)]
    with pytest.raises(NothingToEvaluate):
        evaluate(flow.aws, flow.settings, flow.aws.name, learnt, Silent())


def test_monitoring_passes_evaluation_over(quiet: Pipeline) -> None:
    """Our own questions are no traffic: the monitor sees only the user's photo."""
    samples = staged(quiet, {40: "bicycle", 220: "motorcycle"})
    evaluate(quiet.aws, quiet.settings, quiet.aws.name, samples, Silent())
    quiet.classify_samples(samples[:1])
    assert quiet.monitor(at_least=1).photos == 1
