"""The page of an alert."""

import base64
from collections.abc import Mapping

from scones.monitoring.alerts.alert import Alert, Severity
from scones.monitoring.alerts.cause import Cause
from scones.monitoring.alerts.notices import accuracy_line, format_time, odds_lines, since_line, subject_line
from scones.reports.theme import environment, picture

_TITLES: Mapping[Cause, str] = {
    Cause.MODEL: "Another model answers",
    Cause.QUALITY: "The pictures changed",
    Cause.UNFAMILIAR: "The photos show something else",
    Cause.MIX: "The mix of vehicles changed",
    Cause.UNCLEAR: "Something changed",
}
_SOON: Mapping[Severity, str] = {
    Severity.CRITICAL: "Act now",
    Severity.WARNING: "Act today",
    Severity.NOTICE: "No hurry",
}


def render_alert(alert: Alert, training_photos: Mapping[str, bytes]) -> str:
    """Render the alert; *training_photos* are those that its examples are similar to, if they are still staged."""
    return (
        environment()
        .get_template("alert_page.html.j2")
        .render(
            alert=alert,
            subject=subject_line(alert),
            title=_TITLES[alert.cause.cause],
            soon=_SOON[alert.severity],
            # The sentence below the title says it already.
            words="" if alert.cause.cause is Cause.MODEL else ", ".join(alert.headline),
            accuracy=accuracy_line(alert),
            since=since_line(alert.when),
            odds=list(odds_lines(alert)),
            at=format_time,
            picture=picture,
            pictures={name: picture(photo) for name, photo in training_photos.items()},
            uri=_uri,
        )
    )


def _uri(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}"
