"""Inventory: everything of one environment that stands in the account, as it is right now."""

from scones.aws.connection import Aws


def inventory(aws: Aws) -> tuple[str, ...]:
    """Name what stands, one `kind name` each; training jobs that have ended cannot be deleted and do not count."""
    found = [f"training-job {name}" for name in aws.sagemaker.running_trainings(aws.prefix)]
    if aws.sagemaker.find_endpoint(aws.name):
        found.append(f"endpoint {aws.name}")
    found += [f"endpoint-config {name}" for name in aws.sagemaker.configs(aws.prefix)]
    found += [f"model {name}" for name in aws.sagemaker.models(aws.prefix)]
    found += [f"model-package {number}" for number in aws.registry.numbers()]
    if aws.registry.exists():
        found.append(f"model-package-group {aws.registry.group}")
    stack = aws.stack.find()
    if stack:
        found.append(f"stack {stack.name}")
    if aws.bucket.exists():
        found.append(f"bucket {aws.bucket.name}")
    found += [f"table {table.name}" for table in aws.tables.all() if table.exists()]
    return tuple(found + [f"log-group {name}" for name in log_groups(aws)])


def log_groups(aws: Aws) -> list[str]:
    """Name the log groups that SageMaker and Lambda made for this environment, beside those of the stack."""
    endpoint = f"/aws/sagemaker/Endpoints/{aws.name}"
    names = ("serialize", "classify", "filter", "dispatch", "monitor")
    functions = (f"/aws/lambda/{aws.name}-{function}" for function in names)
    return [name for wanted in (endpoint, *functions) for name in aws.logs.groups(wanted) if name == wanted]
