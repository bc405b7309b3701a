"""Down: delete everything of this environment, look again, and give a receipt."""

from dataclasses import dataclass

from scones.aws.connection import Aws
from scones.aws.inventory import inventory, log_groups
from scones.aws.stacks import StackFailed
from scones.progress import Reporter

# A capture file may arrive in the bucket while it is being emptied.
_TRIES = 3


@dataclass(frozen=True, slots=True)
class Receipt:
    """What stood before, and what is still there: nothing, unless something went wrong."""

    deleted: tuple[str, ...]
    objects: int
    """How many objects the bucket held, versions included."""
    left: tuple[str, ...]


def down(aws: Aws, report: Reporter) -> Receipt:
    """Delete all that carries this environment's name; what is gone already is no error.

    Raises:
        StackFailed: the stack could not be deleted, three times over; run it again.
    """
    found = inventory(aws)
    for job in list(aws.sagemaker.running_trainings(aws.prefix)):
        aws.sagemaker.stop_training(job)
        report.tell(f"training job {job}: stopping")
    if stopped := aws.batches.stop_all(aws.batch_machine):
        report.tell(f"{stopped} batch runs: stopped")
    if aws.sagemaker.delete_endpoint(aws.name):
        report.tell(f"endpoint {aws.name} is gone")
    for config in aws.sagemaker.configs(aws.prefix):
        aws.sagemaker.delete_config(config)
    for model in aws.sagemaker.models(aws.prefix):
        aws.sagemaker.delete_model(model)
    aws.registry.delete()
    objects = _delete_stack(aws)
    for group in log_groups(aws):
        aws.logs.delete_group(group)
    left = inventory(aws)
    report.tell(f"{len(found) - len(left)} resources and {objects} objects deleted, {len(left)} left")
    return Receipt(tuple(item for item in found if item not in left), objects, left)


def _delete_stack(aws: Aws) -> int:
    objects = 0
    for tries_left in reversed(range(_TRIES)):
        objects += aws.bucket.empty()
        try:
            aws.stack.delete()
        except StackFailed:
            if not tries_left:
                raise
            continue
        break
    # A bucket and tables outside any stack are left when a stack was deleted by hand.
    if aws.bucket.exists():
        objects += aws.bucket.empty()
        aws.bucket.delete()
    for table in aws.tables.all():
        table.delete()
    return objects
