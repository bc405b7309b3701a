"""Releases: what an update shows while it is watched."""

from dataclasses import replace
from typing import Any

import pytest

from scones.aws.hosting import Realtime, choose_hosting
from scones.aws.sagemaker import Endpoint
from scones.config.settings import Settings
from scones.deployment.releases import announce_unwatched, show_update
from scones.domain.progress import Silent


class Seen(Silent):
    """Remembers lines, and the names of the countdowns that run."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.running: set[str] = set()

    def tell(self, line: str) -> None:
        """Remember."""
        self.lines.append(line.strip())

    def countdown(self, left: float, seconds: int, what: str) -> None:
        """Remember."""
        assert 0 <= left <= seconds
        (self.running.add if left else self.running.discard)(what)


def states(*pending: tuple[str, float]) -> list[Endpoint]:
    """An endpoint that is asked twice in each state."""
    return [
        Endpoint("e", "Updating" if state else "InService", "arn", "c", "", 0.0, state, since)
        for state, since in pending
        for _ in range(2)
    ]


LOCAL = Settings(endpoint_url="http://127.0.0.1:1")
UPDATES = [
    ({"endpoint_instances": 1}, [("Creating", 1.0), ("Baking", 2.0), ("", 0.0)], [100]),
    ({"endpoint_instances": 2}, [("Creating", 1.0), ("Baking", 2.0), ("Baking", 3.0), ("", 0.0)], [10, 100]),
    ({"endpoint_instances": 2}, [("Baking", 0.0), ("ActivatingTraffic", 0.0), ("Baking", 0.0)], [10, 100]),
    ({"endpoint_instances": 4, "canary_percent": 25}, [("Baking", 2.0), ("RollingBack", 3.0)], [25]),
    ({"endpoint_instances": 2, "bake_seconds": 0}, [("Baking", 2.0), ("Baking", 3.0)], []),
    ({"mode": "serverless"}, [("Creating", 1.0), ("", 0.0)], []),
]


@pytest.mark.parametrize(("changes", "passed", "shares"), UPDATES)
def test_each_watched_step_of_an_update_is_one_line_with_its_share_of_the_requests(
    changes: dict[str, Any], passed: list[tuple[str, float]], shares: list[int]
) -> None:
    """However often it is asked; what watches names the alarm and the seconds, and no countdown outlives its step."""
    seen = Seen()
    watch = show_update(choose_hosting(replace(LOCAL, **changes), "s3://b/c", "too-many-errors"), seen)
    for endpoint in states(*passed):
        watch(endpoint)
        assert bool(seen.running) == (endpoint.pending == "Baking" and bool(shares))
    assert [line.split("%")[0].split()[-1] for line in seen.lines] == [str(share) for share in shares]
    assert all("alarm too-many-errors fires within 20 s" in line for line in seen.lines)


@pytest.mark.parametrize(("place", "seconds"), [("http://127.0.0.1:1", (20, 10)), (None, (180, 60))])
def test_a_local_endpoint_is_watched_for_a_shorter_time_unless_a_setting_says_how_long(
    place: str | None, seconds: tuple[int, int]
) -> None:
    """There metrics arrive at once; the alarm's period is shorter too, or it could not fire in that time."""
    settings = Settings(endpoint_url=place)
    assert (settings.watch_seconds, settings.alarm_period) == seconds
    settings = replace(settings, bake_seconds=0, alarm_seconds=30)
    assert (settings.watch_seconds, settings.alarm_period) == (0, 30)


@pytest.mark.parametrize("instances", [1, 2])
def test_what_is_not_watched_says_its_risk_and_names_no_alarm(instances: int) -> None:
    """SageMaker would otherwise undo a rollback while the alarm of the bad release still fires."""
    seen = Seen()
    hosting = choose_hosting(Settings(endpoint_instances=instances), "s3://b/c", "alarm")
    update = announce_unwatched(hosting, "scones deploy 3", seen).update()["DeploymentConfig"]
    assert "AutoRollbackConfiguration" not in update
    assert update["BlueGreenUpdatePolicy"]["TrafficRoutingConfiguration"] == {
        "Type": "ALL_AT_ONCE",
        "WaitIntervalInSeconds": 0,
    }
    (line,) = seen.lines
    assert "no alarm returns them" in line
    assert line.endswith("scones deploy 3")
    assert isinstance(hosting, Realtime)
    assert hosting.update()["DeploymentConfig"]["AutoRollbackConfiguration"]
