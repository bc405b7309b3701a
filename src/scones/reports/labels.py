"""Label page: the photos to label next, and a table to fill in."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scones.monitoring.alerts.notices import format_time
from scones.monitoring.performance.labels import LabelRequest
from scones.reports.gallery import picture
from scones.reports.theme import environment


@dataclass(frozen=True, slots=True)
class LabelPagePhoto:
    """One photo to label, without its prediction, which could bias the label."""

    event: str
    time: str
    photo: bytes | None
    """None if it is no longer in the capture."""


def render_labels(endpoint: str, classes: Sequence[str], photos: Sequence[LabelPagePhoto], table: str) -> str:
    """Render the page; *table* is the name of the file to fill in."""
    pictures = {item.event: picture(item.photo) for item in photos if item.photo is not None}
    template = environment().get_template("label_page.html.j2")
    return template.render(
        endpoint=endpoint, classes=classes, photos=photos, pictures=pictures, table=table, at=format_time
    )


def table_to_fill(request: LabelRequest, pictures: Mapping[str, bytes]) -> str:
    """The table as CSV: a row per photo, with its number on the page and an empty label."""
    out = io.StringIO()
    rows = csv.writer(out, lineterminator="\n")
    rows.writerow(["number", "event", "label"])
    rows.writerows([number, event, ""] for number, event in enumerate(request.events, 1) if event in pictures)
    return out.getvalue()
