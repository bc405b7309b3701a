"""One command at a time changes an environment; a lock whose command crashed does not last."""

import os
import time
from dataclasses import replace

import msgspec
import pytest

from access_keys import KEYS
from faulty import Fault, Request, before
from holding import holding
from scones.aws.connection import Aws, connect
from scones.config.settings import Settings
from scones.deployment.lock import EnvironmentBusy, LockHolder, LockLost, deployment_lock
from scones.deployment.template import base_template
from scones.domain.errors import MissingPrerequisite
from scones.domain.naming import LOCK_KEY
from scones.domain.progress import Silent
from scones.pipeline import Pipeline
from scones_local.cloud import Cloud

ELSEWHERE = LockHolder("other", "deploy", "arn:aws:iam::1:user/ann", "laptop x", os.getpid(), "12:00", "13:00", 600)


@pytest.fixture
def with_bucket(aws: Aws) -> Aws:
    """An environment with a bucket, which holds its lock."""
    aws.stack.deploy(base_template(), {"Env": aws.env}, Silent().tell)
    return aws


def test_a_second_command_is_refused_and_names_the_first(with_bucket: Aws, settings: Settings) -> None:
    """Another process deploys: the command ends with one line, and can be run again after it."""
    flow = Pipeline(with_bucket, settings, Silent())
    with holding(with_bucket, settings) as other:
        for change in (flow.rollback, flow.up, flow.down):
            with pytest.raises(EnvironmentBusy, match="is locked by `scones deploy`, run by arn:"):
                change()
        other.communicate("end\n", timeout=60)
    assert with_bucket.bucket.find(LOCK_KEY) is None
    with pytest.raises(MissingPrerequisite):
        flow.rollback()


def test_the_lock_of_a_process_that_was_killed_on_this_machine_is_taken_at_once(
    with_bucket: Aws, settings: Settings
) -> None:
    """It would expire in ten minutes; there is no need to wait for that."""
    with holding(with_bucket, settings) as other:
        other.kill()
        other.wait()
        assert with_bucket.bucket.find(LOCK_KEY) is not None
        with deployment_lock(with_bucket, "up", 600, Silent()):
            pass
    assert with_bucket.bucket.find(LOCK_KEY) is None


def test_the_lock_of_another_machine_holds_until_it_expires(with_bucket: Aws) -> None:
    """The message says who holds it, until when, and what to delete if it crashed; after that it is taken."""
    with_bucket.bucket.put(LOCK_KEY, msgspec.json.encode(ELSEWHERE))
    expected = (
        rf"user/ann on laptop \(process {os.getpid()}\) since 12:00; .* expires at 13:00, or delete s3://.*{LOCK_KEY}"
    )
    with pytest.raises(EnvironmentBusy, match=expected), deployment_lock(with_bucket, "up", 600, Silent()):
        pass
    with_bucket.bucket.put(LOCK_KEY, msgspec.json.encode(replace(ELSEWHERE, seconds=2)))
    time.sleep(3)  # S3 knows an object's age to the second
    with deployment_lock(with_bucket, "up", 600, Silent()):
        assert with_bucket.bucket.find(LOCK_KEY) is not None
    assert with_bucket.bucket.find(LOCK_KEY) is None


def test_a_lock_that_another_version_stored_holds_as_well(with_bucket: Aws) -> None:
    """A lock that cannot be read is taken as held, for an hour at most."""
    with_bucket.bucket.put(LOCK_KEY, b"?")
    with pytest.raises(EnvironmentBusy, match="an unknown user"), deployment_lock(with_bucket, "up", 600, Silent()):
        pass
    with_bucket.bucket.remove([LOCK_KEY])


def test_the_lock_is_released_on_an_error(with_bucket: Aws) -> None:
    """The command's own error reaches the user, and the next one need not wait."""
    with pytest.raises(ZeroDivisionError), deployment_lock(with_bucket, "up", 600, Silent()):
        _ = 1 / 0
    with deployment_lock(with_bucket, "up", 600, Silent()):
        assert with_bucket.bucket.find(LOCK_KEY) is not None
    assert with_bucket.bucket.find(LOCK_KEY) is None


def test_a_lost_lock_is_an_error_before_the_next_change_and_at_the_end(with_bucket: Aws) -> None:
    """A command that took longer than its lock neither goes on nor deletes what another holds by then."""
    with pytest.raises(LockLost, match="`scones up` took so long"), deployment_lock(with_bucket, "up", 600, Silent()):
        with_bucket.bucket.put(LOCK_KEY, b"another's")
    with pytest.raises(EnvironmentBusy), deployment_lock(with_bucket, "up", 600, Silent()):
        pass
    with_bucket.bucket.remove([LOCK_KEY])
    with deployment_lock(with_bucket, "up", 600, Silent()) as extend:
        extend()

    def go_on() -> None:
        with deployment_lock(with_bucket, "up", 600, Silent()) as extend:
            with_bucket.bucket.put(LOCK_KEY, b"another's")
            extend()
            pytest.fail("the command went on without its lock")

    with pytest.raises(LockLost):
        go_on()
    assert with_bucket.bucket.find(LOCK_KEY) == b"another's"
    with_bucket.bucket.remove([LOCK_KEY])


def test_a_reply_that_is_lost_loses_no_lock(with_bucket: Aws, settings: Settings, cloud: Cloud) -> None:
    """S3 took the write; sent again it is refused, for the object is not what it was: it is our own all the same."""
    writes = 0

    def lose(request: Request) -> Fault | None:
        nonlocal writes
        writes += request.operation == f"PUT /{with_bucket.bucket.name}/{LOCK_KEY}"
        return Fault("lost") if request.operation.startswith("PUT ") and writes % 3 == 1 else None

    with before(cloud.port, decide=lose) as between:
        through = connect(replace(settings, endpoint_url=between.url), KEYS)
        with deployment_lock(through, "up", 600, Silent()):
            assert with_bucket.bucket.find(LOCK_KEY) is not None
    assert writes in (5, 6)  # in the same second the second write is the same to the byte
    assert with_bucket.bucket.find(LOCK_KEY) is None


def test_without_a_bucket_nothing_is_locked(aws: Aws) -> None:
    """Nor in another account's, which lacks the tag."""
    with deployment_lock(aws, "up", 600, Silent()) as extend:
        extend()
    aws.bucket._client.call("create_bucket", Bucket=aws.bucket.name)
    with deployment_lock(aws, "up", 600, Silent()):
        assert aws.bucket.find(LOCK_KEY) is None
    aws.bucket.delete()
