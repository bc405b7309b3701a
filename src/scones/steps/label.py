"""Label: hold what the endpoint answered against labels that came later."""

from collections.abc import Iterator
from pathlib import Path

from scones.aws.connection import Aws
from scones.domain.keys import LABEL_SAMPLE_KEY, features_prefix
from scones.model.model_file import open_model_file
from scones.monitoring.drift.traffic import RecordedTraffic
from scones.monitoring.performance.labels import InvalidLabels, LabelRequest, LabelResult, compare_labels, parse_labels


def label(aws: Aws, endpoint: str, model_uri: str, file: Path) -> LabelResult:
    """Read the labels in *file*, CSV or JSON Lines, and judge the answers of the model at *model_uri* by them.

    Raises:
        BadLabels: the file cannot be read, or none of its labels is of a photo that the model was seen to answer.
    """
    with open_model_file(aws.bucket.get(aws.bucket.key(model_uri))) as model_file:
        classes, model = model_file.classes, model_file.version
    try:
        labels = parse_labels(file.read_text("utf-8-sig"), classes)
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidLabels(f"cannot read {file}: {error}") from error
    asked = aws.bucket.find(LABEL_SAMPLE_KEY)
    return compare_labels(
        _seen(aws, endpoint), labels, LabelRequest.from_json(asked) if asked else None, model, classes
    )


def _seen(aws: Aws, endpoint: str) -> Iterator[RecordedTraffic]:
    for item, pieces in aws.bucket.read_all(aws.bucket.list(features_prefix(endpoint))):
        if pieces is not None:
            yield RecordedTraffic.from_bytes(b"".join(pieces), aws.bucket.uri(item.key))
