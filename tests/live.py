"""A function of the workflow, changed by a test, and made what executions call."""

from collections.abc import Iterator
from contextlib import contextmanager

from scones.aws.client import Client


@contextmanager
def live(functions: Client, name: str) -> Iterator[None]:
    """Have the state machines call the function *name* as it is now, and afterwards as it was before."""
    alias = {"FunctionName": name, "Name": "live"}
    before = functions.call("get_alias", **alias)["FunctionVersion"]
    version = functions.call("publish_version", FunctionName=name)["Version"]
    functions.call("update_alias", **alias, FunctionVersion=version)
    try:
        yield
    finally:
        functions.call("update_alias", **alias, FunctionVersion=before)
        functions.call("delete_function", FunctionName=name, Qualifier=version)
