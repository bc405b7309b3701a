"""Down: delete all resources of the environment, list what remains, and report it."""

import contextlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

from scones.aws.client import AwsError, WaitTimeout, continues, wait
from scones.aws.cloudformation import STACK_SECONDS, StackDeletionIncomplete, StackFailed
from scones.aws.connection import Aws
from scones.aws.sagemaker import MAX_PROGRESS_SECONDS
from scones.deployment.cleanup import (
    OwnedResource,
    endpoints,
    inventory,
    log_groups,
    open_cleanup,
    other_regions,
    owns_bucket,
    registered_models,
    running_instances,
    stack_members,
    tagged_resources,
)
from scones.deployment.lock import deployment_lock
from scones.deployment.pricing import hourly_dollars, kept_monthly_dollars
from scones.deployment.template import base_template, parameter_names, template_for
from scones.domain.errors import DeploymentError
from scones.domain.progress import Reporter
from scones.domain.result import StepResult
from scones.domain.text import plural

# Captures and logs may still be written, for minutes, into a bucket that is being emptied.
_REFILL_SECONDS = 900.0
_LISTING_SECONDS = 60.0
_MAX_STACK_FAILURES = 2
_CONTINUES = "what is not deleted yet still costs money, as `scones status` lists; to delete the rest, run: scones down"
# The endpoint settles and is deleted, and with --keep-data the stack settles and is updated.
_LOCK_SECONDS = MAX_PROGRESS_SECONDS + 2 * STACK_SECONDS


# What is counted at most before the question.
_MAX_COUNTED = 10_000
_CONTENT = {
    "data": "staged photos and lists",
    "asked": "photos to classify",
    "incoming": "photos to classify",
    "models": "model files",
    "batches": "batch results",
    "capture": "captured requests",
}
_DATA_KINDS = {"bucket", "model-package", "model-package-group"}

T = TypeVar("T")


class WrongRegion(DeploymentError):
    """The environment is not in this region, but in another."""

    def __init__(self, env: str, region: str, others: tuple[str, ...]) -> None:
        super().__init__(
            f"environment {env!r} has no resources in {region}, but a bucket in {', '.join(others)}; "
            f"run: AWS_REGION={others[0]} scones down --env {env}"
        )
        self.others = others


@dataclass(frozen=True, slots=True)
class TeardownReport(StepResult):
    """What existed before, what was deleted, and what remained when everything was listed again."""

    existed: tuple[str, ...]
    deleted: tuple[str, ...]
    objects: int
    """How many objects were deleted, versions included."""
    kept: tuple[str, ...]
    """What `--keep-data` kept."""
    remaining: tuple[str, ...]
    """What could not be deleted."""
    hourly_dollars_stopped: float | None
    """What was billed by the hour; None if the price table lacks an instance type."""
    monthly_dollars_kept: float

    def summary(self) -> str:
        """What was deleted, and what is left, in numbers."""
        deleted = f"{plural(len(self.deleted), 'resource')} and {plural(self.objects, 'object')} deleted"
        return f"{deleted}, {len(self.kept) + len(self.remaining)} left"


def down(
    aws: Aws, report: Reporter, *, keep_data: bool = False, confirm: Callable[[], None] | None = None
) -> TeardownReport:
    """Delete all resources of the environment; it can be run again at any point.

    With *keep_data* the base stack stays: the bucket, with photos, models and records. *confirm* is called when what
    will be deleted was told, unless that is nothing; what it raises ends the command before anything is deleted.

    Raises:
        WrongRegion: the environment is in another region.
        EnvironmentBusy: another command is changing the environment.
        StackFailed: the stack could not be deleted.
        StackDeletionIncomplete: the data cannot be kept, because the deletion has begun.
        ForeignStack: Scones did not create the stack of this name.
    """
    known = tagged_resources(aws)
    existed = inventory(aws, known)
    if not existed and (others := other_regions(aws)):
        raise WrongRegion(aws.env, aws.region, others)
    if confirm and existed:
        for line in _losses(aws, existed, keep_data=keep_data):
            report.tell(line)
        confirm()
    stopped = hourly_dollars(running_instances(aws))
    members = known.all
    groups = log_groups(aws, members)
    # The lock is released before its bucket is emptied; from then on the stack's own state shows the deletion.
    with continues(_CONTINUES), deployment_lock(aws, "down", _LOCK_SECONDS, report):
        _stop(aws, members, report)
        _delete_hosting(aws, report)
        if not keep_data:
            aws.registry.delete()
        stays = keep_data and _reduce_to_base_stack(aws, report)
    with continues(_CONTINUES):
        objects = 0 if stays else _delete_stack(aws, report)
        kept = _kept_resources(aws) if keep_data else ()
        _delete_leftovers(aws, members, groups, kept, report)
        left = _list_remaining(aws, kept)
    deleted = tuple(item for item in existed if item not in left and item not in kept)
    found = TeardownReport(existed, deleted, objects, kept, left, stopped, _monthly_dollars(aws) if kept else 0.0)
    report.tell(found.summary())
    return found


def _losses(aws: Aws, existed: tuple[str, ...], *, keep_data: bool) -> Iterator[str]:
    """Say what a teardown deletes for good: the data first, which cannot be created again."""
    yield f"this deletes environment {aws.env!r} in account {aws.account}, {aws.region}, for good:"
    if keep_data:
        yield f"  not the bucket {aws.bucket.name} with photos, models and records"
    elif owns_bucket(aws):
        kinds = Counter(_CONTENT.get(item.key.partition("/")[0], "other objects") for item in _first(aws.bucket.list()))
        content = ", ".join(f"{count:,} {kind}" for kind, count in kinds.items()) or "empty"
        more = f", and more than these {_MAX_COUNTED:,}" if kinds.total() == _MAX_COUNTED else ""
        yield f"  bucket {aws.bucket.name}: {content}{more}"
        yield f"  {plural(len(aws.registry.numbers()), 'registered model')}"
    if aws.tables.decisions.exists():
        decisions = sum(1 for _ in _first(aws.tables.decisions.scan()))
        more = "more than " if decisions == _MAX_COUNTED else ""
        yield f"  {more}{plural(decisions, 'decision')}, with orders and couriers"
    others = Counter(item.partition(" ")[0] for item in existed)
    yield f"  {', '.join(f'{count} {kind}' for kind, count in others.items() if kind not in _DATA_KINDS)}"


def _first(items: Iterable[T]) -> Iterable[T]:
    return islice(items, _MAX_COUNTED)


def _stop(aws: Aws, members: list[OwnedResource], report: Reporter) -> None:
    """Stop what starts new work first, then what is running."""
    for member in members:
        if member.kind == "events:rule":
            open_cleanup(aws).disable_rule(member.name)
    if stopped := aws.batches.stop_all(aws.batch_machine):
        report.tell(f"{plural(stopped, 'batch run')}: stopped")
    if stopped := aws.batches.stop_all(aws.retrain_machine):
        report.tell(f"{plural(stopped, 'retraining')}: stopped")
    for job in list(aws.sagemaker.running_trainings(aws.prefix)):
        report.tell(f"training job {job}: stopping")
        aws.sagemaker.end_training(job)
    for build in list(aws.images.running()):
        aws.images.stop(build)
        report.tell(f"image build {build.id}: stopped")


def _delete_hosting(aws: Aws, report: Reporter) -> None:
    aws.scaling.stop()
    for name in endpoints(aws):
        if aws.sagemaker.delete_endpoint(name, report.tell):
            report.tell(f"endpoint {name}: deleted")
    for config in aws.sagemaker.configs(aws.prefix):
        aws.sagemaker.delete_config(config)
    for model in aws.sagemaker.models(aws.prefix):
        aws.sagemaker.delete_model(model)


def _delete_stack(aws: Aws, report: Reporter) -> int:
    """Delete the stack and the bucket, even while objects are still written; return how many objects were deleted."""
    if _is_foreign_bucket(aws):
        report.tell(f"bucket {aws.bucket.name} was not created by Scones (it lacks the environment's tag): kept")
    objects = failures = 0

    def stack_deleted() -> bool | None:
        nonlocal objects, failures
        objects += _empty(aws)
        try:
            aws.stack.delete(report.tell, retain_failed=failures >= _MAX_STACK_FAILURES)
        except StackFailed as error:
            refilled = _empty(aws)
            objects += refilled
            if failures > _MAX_STACK_FAILURES:
                raise
            report.tell(f"{error.reason}: trying again")
            # A bucket that was filled meanwhile is not the stack's failure.
            failures += not refilled
            return None
        return True

    def bucket_deleted() -> bool | None:
        nonlocal objects
        if not owns_bucket(aws):
            return True
        objects += _empty(aws)
        try:
            aws.bucket.delete()
        except AwsError as error:
            if error.code != "BucketNotEmpty":
                raise
        return None

    wait(f"stack {aws.name} deleted", stack_deleted, _REFILL_SECONDS)
    wait(f"bucket {aws.bucket.name} deleted", bucket_deleted, _REFILL_SECONDS)
    return objects


def _is_foreign_bucket(aws: Aws) -> bool:
    try:
        return aws.bucket.exists() and not owns_bucket(aws)
    except AwsError as error:
        if error.code in {"403", "AccessDenied"}:  # another account's
            return True
        raise


def _empty(aws: Aws) -> int:
    return aws.bucket.empty() if owns_bucket(aws) else 0


def _reduce_to_base_stack(aws: Aws, report: Reporter) -> bool:
    """Reduce the stack to the base stack; False if there is none, and so no data to keep."""
    stack = aws.stack.find()
    if stack is None:
        return owns_bucket(aws)
    if stack.never_created:
        return False
    if stack.status == "DELETE_FAILED":
        raise StackDeletionIncomplete(stack.name, stack.status)
    # With all parameters but the functions' code: without its KMS key the data could not be read.
    known = parameter_names(base_template()) - {"CodeKey"}
    chosen = {name: value for name, value in stack.parameters.items() if name in known}
    aws.stack.deploy(template_for(aws, chosen, base=True), chosen, report.tell)
    aws.bucket.abort_uploads()
    return True


def _kept_resources(aws: Aws) -> tuple[str, ...]:
    """What is kept with the data, as an inventory names it."""
    stack = aws.stack.find()
    members = sorted(map(str, stack_members(aws)))
    bucket = [f"bucket {aws.bucket.name}"] if owns_bucket(aws) else []
    records = [f"log-stream {name}" for name in aws.logs.training_streams(aws.prefix)]
    return (*([f"stack {stack.name}"] if stack else []), *bucket, *members, *registered_models(aws), *records)


def _delete_leftovers(
    aws: Aws, members: list[OwnedResource], groups: list[str], kept: tuple[str, ...], report: Reporter
) -> None:
    """Delete what the stack's deletion left, and what AWS created by itself, such as log groups."""
    cleanup = open_cleanup(aws)
    for leftover in [*members, *cleanup.tagged(besides=members)]:
        if str(leftover) not in kept and cleanup.exists(leftover):
            report.tell(f"{leftover}: left by the stack")
            if not cleanup.delete(leftover):
                report.tell(f"{leftover}: this version cannot delete it; delete it manually")
    for group in dict.fromkeys([*groups, *log_groups(aws, members)]):
        aws.logs.delete_group(group)
    if not kept:
        for stream in aws.logs.training_streams(aws.prefix):
            aws.logs.delete_training_stream(stream)


def _list_remaining(aws: Aws, kept: tuple[str, ...]) -> tuple[str, ...]:
    """List all resources but the *kept* ones, for up to a minute: AWS lists deleted ones for a while."""
    records = ("log-stream ",) if kept else ()
    left: tuple[str, ...] = ()

    def nothing_left() -> bool | None:
        nonlocal left
        left = tuple(item for item in inventory(aws) if item not in kept and not item.startswith(records))
        return None if left else True

    with contextlib.suppress(WaitTimeout):
        wait("all resources deleted", nothing_left, _LISTING_SECONDS)
    return left


def _monthly_dollars(aws: Aws) -> float:
    """The monthly cost of the kept data, without old versions of objects, which expire within 30 days."""
    stored = sum(item.size for item in aws.bucket.list())
    return kept_monthly_dollars(stored, aws.images.stored_bytes(), kms=bool(aws.stack.key()))
