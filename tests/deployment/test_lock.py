"""Of two commands that would change an environment at once, one works, and the other is told of it."""

from dataclasses import replace

import pytest

from conftest import KEYS
from faulty import Fault, Request, before
from holding import holding
from scones.aws.connection import Aws, connect
from scones.config.settings import Settings
from scones.deployment.lock import KEY, EnvironmentBusy, LeaseLost, Pace, held
from scones.deployment.template import foundation
from scones.domain.errors import NothingYet
from scones.domain.progress import Silent
from scones.local.cloud import Cloud
from scones.pipeline import Pipeline

PATIENT = Pace(beat_seconds=0.1, silent_seconds=60)
HASTY = Pace(beat_seconds=60, silent_seconds=0.5)


@pytest.fixture
def founded(aws: Aws) -> Aws:
    """An environment with a bucket, in which it can be held."""
    aws.stack.deploy(foundation(), {"Env": aws.env}, Silent().tell)
    return aws


def test_who_comes_second_is_told_who_works_and_since_when(founded: Aws, settings: Settings) -> None:
    """Another process deploys and is alive: the command ends with one line, and may be run again after it."""
    flow = Pipeline(founded, settings, Silent())
    with holding(founded, settings) as other:
        for change in (flow.rollback, flow.up, flow.down):
            with pytest.raises(
                EnvironmentBusy, match=rf"'{founded.env}' is being changed: arn:.* runs `scones deploy` since"
            ):
                change()
        other.communicate("end\n", timeout=60)
    assert founded.bucket.find(KEY) is None
    with pytest.raises(NothingYet):
        flow.rollback()


def test_a_holder_that_was_killed_locks_nobody_out(founded: Aws, settings: Settings) -> None:
    """Nothing renews its lease any more: after a while the next one takes it, and leaves nothing behind."""
    with holding(founded, settings) as other:
        other.kill()
        other.wait()
        assert founded.bucket.find(KEY) is not None
        with held(founded, "up", Silent(), HASTY):
            pass
    assert founded.bucket.find(KEY) is None


def test_a_lease_is_given_back_whatever_happens(founded: Aws) -> None:
    """The command's own error reaches the user, and the next one need not wait."""
    with pytest.raises(ZeroDivisionError), held(founded, "up", Silent(), PATIENT):
        _ = 1 / 0
    with held(founded, "up", Silent(), PATIENT):
        assert founded.bucket.find(KEY) is not None
    assert founded.bucket.find(KEY) is None


@pytest.mark.parametrize("pace", [PATIENT, HASTY])
def test_who_was_silent_and_lost_the_environment_is_told_so(founded: Aws, pace: Pace) -> None:
    """Found out by a renewal, or at the end: it neither deletes nor renews what another holds by then."""
    with pytest.raises(LeaseLost, match="`scones up` was out of touch"), held(founded, "up", Silent(), pace):
        founded.bucket.put(KEY, b"another's")
    assert founded.bucket.find(KEY) == b"another's"
    founded.bucket.remove([KEY])


def test_an_answer_that_is_lost_on_the_way_loses_no_lease(founded: Aws, settings: Settings, cloud: Cloud) -> None:
    """S3 took the write; sent again it is refused, for the object is not what it was: it is our own all the same."""
    writes = 0

    def lose(request: Request) -> Fault | None:
        nonlocal writes
        writes += request.operation == f"PUT /{founded.bucket.name}/{KEY}"
        return Fault("lost") if request.operation.startswith("PUT ") and writes % 3 == 1 else None

    with before(cloud.port, decide=lose) as between:
        through = connect(replace(settings, endpoint_url=between.url), KEYS)
        with held(through, "up", Silent(), HASTY):
            assert founded.bucket.find(KEY) is not None
    assert writes == 6
    assert founded.bucket.find(KEY) is None


def test_before_there_is_a_bucket_nothing_is_held(aws: Aws) -> None:
    """Nor in somebody else's, which lacks the tag."""
    with held(aws, "up", Silent()):
        pass
    aws.bucket._client.call("create_bucket", Bucket=aws.bucket.name)
    with held(aws, "up", Silent()):
        assert aws.bucket.find(KEY) is None
    aws.bucket.delete()
