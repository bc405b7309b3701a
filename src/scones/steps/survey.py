"""Survey: report on the staged photos, beside them in the bucket and, if wanted, on this machine."""

from dataclasses import dataclass
from pathlib import Path

import msgspec

from scones.aws.connection import Aws
from scones.data.dataset import Collection
from scones.data.manifest import from_lines
from scones.domain.keys import manifest_key, report_key, split_prefix
from scones.domain.progress import Reporter
from scones.model.model_file import InvalidModelFile, open_model_file
from scones.model.out_of_fold import BadOutOfFold, OutOfFold
from scones.reports.dataset import DataFigures, Doubt, figures_of, render_data
from scones.training.label_issues import rank


@dataclass(frozen=True, slots=True)
class Learnt:
    """A model, by the job that trained it, and the data version that it has learnt from."""

    job: str
    model_uri: str
    data_version: str


@dataclass(frozen=True, slots=True)
class Surveyed:
    """What to report on: the photos, their version, and a model that may doubt some of their labels."""

    collection: Collection
    version: str
    model: Learnt | None = None


def survey(aws: Aws, surveyed: Surveyed, page: Path | None, report: Reporter) -> DataFigures:
    """Write the report, as a page and as JSON; *page* names a copy on this machine."""
    judged, doubts = _doubts(aws, surveyed, report)
    # A model that has learnt from none of these photos says nothing of their labels.
    doubted_by = surveyed.model.job if surveyed.model and judged else ""
    figures = figures_of(surveyed.collection, surveyed.version, doubts, doubted_by)
    html = render_data(surveyed.collection, figures, doubts).encode()
    as_json = msgspec.json.format(msgspec.json.encode(figures), indent=1)
    aws.bucket.put(report_key(surveyed.version, "html"), html, "text/html")
    aws.bucket.put(report_key(surveyed.version, "json"), as_json, "application/json")
    if page:
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_bytes(html)
        page.with_suffix(".json").write_bytes(as_json)
        report.tell(f"report {page}, figures {page.with_suffix('.json')}")
    return figures


def _doubts(aws: Aws, surveyed: Surveyed, report: Reporter) -> tuple[int, tuple[Doubt, ...]]:
    """Count the photos here that the model has learnt from with the same label, and rank those that it doubts."""
    known = _out_of_fold(aws, surveyed.model, report) if surveyed.model else None
    if surveyed.model is None or known is None:
        return 0, ()
    version = surveyed.model.data_version
    learnt = aws.bucket.find(manifest_key(version, "train")) or b""
    contents = {sample.key: sample.sha256 for sample in from_lines(learnt, aws.bucket.name)}
    # By their content: the photos staged now may be others of the same names.
    here = {(photo.sha256, photo.label): photo for photo in surveyed.collection.photos}
    of_name = {}
    for name, label in zip(known.names, known.labels, strict=True):
        photo = here.get((contents.get(f"{split_prefix(version, 'train')}{name}", ""), label))
        if photo:
            of_name[name] = photo
    suspects = rank(known.names, known.labels, known.probabilities, known.classes, known.votes)
    doubts = (Doubt(of_name[it.name], it.predicted, it.confidence) for it in suspects if it.name in of_name)
    return len(of_name), tuple(doubts)


def _out_of_fold(aws: Aws, model: Learnt, report: Reporter) -> OutOfFold | None:
    archive = aws.bucket.find(aws.bucket.key(model.model_uri))
    if archive is None:
        return None
    try:
        with open_model_file(archive) as model_file:
            return OutOfFold.kept(model_file)
    except (InvalidModelFile, BadOutOfFold) as error:
        report.tell(f"the report lists no doubtful labels: {error}")
        return None
