"""Survey: report on the staged photos, beside them in the bucket and, if wanted, on this machine."""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from scones.aws.connection import Aws
from scones.evaluation.data_report import DataFigures, Doubt, figures_of, render_data
from scones.manifest import report_key
from scones.photos.collection import Collection
from scones.progress import Reporter


def survey(aws: Aws, collection: Collection, version: str, page: Path | None, report: Reporter) -> DataFigures:
    """Write the report on the data *version*, which holds the photos of *collection*; *page* gets a copy of it."""
    doubts: Sequence[Doubt] = ()
    figures = figures_of(collection, version, doubts, "")
    html = render_data(collection, figures, doubts).encode()
    as_json = msgspec.json.format(msgspec.json.encode(figures), indent=1)
    aws.bucket.put(report_key(version, "html"), html, "text/html")
    aws.bucket.put(report_key(version, "json"), as_json, "application/json")
    if page:
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_bytes(html)
        page.with_suffix(".json").write_bytes(as_json)
        report.tell(f"report {page}, figures {page.with_suffix('.json')}")
    return figures
