"""Smoke test: send one drawn photo through the workflow."""

import io
import uuid
from dataclasses import dataclass

from scones.aws.connection import Aws
from scones.data.sources.synthetic import render
from scones.domain.decision import Outcome, outcome_of_error
from scones.domain.errors import DeploymentError
from scones.domain.keys import ASKED_PREFIX
from scones.domain.progress import Reporter
from scones.domain.tags import evaluation_id

_KEY = f"{ASKED_PREFIX}smoke-test.png"
# A drawing may be below the threshold or out of distribution: the model answered all the same.
_ANSWERS = (Outcome.BELOW_THRESHOLD, Outcome.OUT_OF_DISTRIBUTION)


class SmokeTestFailed(DeploymentError):
    """The workflow gave no answer."""

    def __init__(self, error: str, cause: str) -> None:
        super().__init__(
            f"the smoke test's photo got no answer from the workflow: {error}: {' '.join(cause.split())[:300]}; "
            "check the functions' logs, correct the cause, and run the same command again"
        )
        self.error = error


@dataclass(frozen=True, slots=True)
class SmokeTestResult:
    """The answer to the photo: its label, or the error's name."""

    answer: str
    seconds: float


def smoke_test(aws: Aws, workflow_arn: str, report: Reporter) -> SmokeTestResult | None:
    """Classify a drawing; None if no endpoint is in service.

    The monitor ignores it, because its inference ID marks internal traffic.

    Raises:
        SmokeTestFailed: the workflow failed.
    """
    endpoint = aws.sagemaker.find_endpoint(aws.name)
    if endpoint is None or endpoint.status != "InService":
        report.tell("smoke test skipped: no endpoint is in service; `scones deploy` runs it")
        return None
    stream = io.BytesIO()
    render("bicycle", "test", 0).save(stream, "png")
    aws.bucket.put(_KEY, stream.getvalue(), "application/x-image")
    event = {"image_data": "", "s3_bucket": aws.bucket.name, "s3_key": _KEY, "inference_id": evaluation_id("smoke")}
    ended = aws.workflow.run(workflow_arn, f"smoke-{uuid.uuid4().hex}", event)
    if ended.output is None and outcome_of_error(ended.error) not in _ANSWERS:
        raise SmokeTestFailed(ended.error or ended.status, ended.cause)
    seconds = (ended.stopped - ended.started).total_seconds()
    answer = ended.error if ended.output is None else f"{ended.output['label']} {ended.output['confidence']:.3f}"
    # A drawing is not a photo: low confidence or out of distribution is a normal answer.
    report.tell(f"smoke test passed: one drawing went through the workflow in {seconds:.2f} s; the answer was {answer}")
    return SmokeTestResult(answer, seconds)
