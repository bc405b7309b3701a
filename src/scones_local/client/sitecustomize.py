"""Keeps the AWS clients of a Python program on the local cloud, also those that name an address of AWS themselves.

`exports` puts this folder on PYTHONPATH, so Python imports it when it starts. The SageMaker SDK, for one, gives STS's
address to boto3, which takes it for more important than AWS_ENDPOINT_URL; its version 2 asks only every 30 seconds
whether an endpoint serves, which takes one or two here.
"""

import importlib.util
import os
import re
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

ADDRESS = re.compile(r"^https?://[^/]*(amazonaws\.com(\.cn)?|api\.aws)(:[0-9]+)?(/|$)")


POLL_SECONDS = 1


class ChangedModules:
    """Finds the modules of `CHANGES` in place of the ordinary finders, and changes each once it is loaded."""

    def find_spec(self, name: str, _path: object = None, _target: object = None) -> ModuleSpec | None:
        """The ordinary spec of such a module, with another loading; None for all other modules."""
        if (change := CHANGES.pop(name, None)) is None:
            return None
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            load = spec.loader.exec_module

            def loaded(module: ModuleType) -> None:
                load(module)
                change(module.Session)

            spec.loader.exec_module = loaded  # type: ignore[method-assign]
        return spec


def redirect(session: Any) -> None:
    """Let clients of botocore's *session* whose address is one of AWS use AWS_ENDPOINT_URL instead."""
    create = session.create_client

    def created(self: Any, *arguments: Any, **members: Any) -> Any:
        if ADDRESS.search(str(members.get("endpoint_url"))) and os.environ.get("AWS_ENDPOINT_URL"):
            members["endpoint_url"] = None
        return create(self, *arguments, **members)

    session.create_client = created


def poll_often(session: Any) -> None:
    """Let the methods of the SageMaker SDK's *session* that wait ask every second, unless they are told otherwise."""
    for method in vars(session).values():
        if isinstance(method, FunctionType) and (defaults := method.__defaults__):
            names = method.__code__.co_varnames[: method.__code__.co_argcount][-len(defaults) :]
            pairs = zip(names, defaults, strict=True)
            method.__defaults__ = tuple(POLL_SECONDS if name == "poll" else value for name, value in pairs)


CHANGES = {"botocore.session": redirect, "sagemaker.session": poll_often}

sys.meta_path.insert(0, ChangedModules())
# Another sitecustomize, of the system or of a tool, would be hidden by this one.
_here = str(Path(__file__).parent)
_after = [path for path in sys.path if path != _here]
if (_other := importlib.machinery.PathFinder.find_spec("sitecustomize", _after)) and _other.loader:
    _other.loader.exec_module(importlib.util.module_from_spec(_other))
