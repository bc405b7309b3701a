"""Keeps the AWS clients of a Python program on the local cloud, also those that name an address of AWS themselves.

`exports` puts this folder on PYTHONPATH, so Python imports it when it starts. The SageMaker SDK, for one, gives STS's
address to boto3, which takes it for more important than AWS_ENDPOINT_URL.
"""

import importlib.util
import os
import re
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

ADDRESS = re.compile(r"^https?://[^/]*(amazonaws\.com(\.cn)?|api\.aws)(:[0-9]+)?(/|$)")


class SessionFinder:
    """Finds `botocore.session` in place of the ordinary finders, and changes it once it is loaded."""

    def find_spec(self, name: str, _path: object = None, _target: object = None) -> ModuleSpec | None:
        """The ordinary spec of botocore.session, with another loading; None for all other modules."""
        if name != "botocore.session":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            load = spec.loader.exec_module

            def loaded(module: ModuleType) -> None:
                load(module)
                redirect(module.Session)

            spec.loader.exec_module = loaded  # type: ignore[method-assign]
        return spec


def redirect(session: Any) -> None:
    """Let clients of *session* whose address is one of AWS use AWS_ENDPOINT_URL instead."""
    create = session.create_client

    def created(self: Any, *arguments: Any, **members: Any) -> Any:
        if ADDRESS.search(str(members.get("endpoint_url"))) and os.environ.get("AWS_ENDPOINT_URL"):
            members["endpoint_url"] = None
        return create(self, *arguments, **members)

    session.create_client = created


sys.meta_path.insert(0, SessionFinder())
# Another sitecustomize, of the system or of a tool, would be hidden by this one.
_here = str(Path(__file__).parent)
_after = [path for path in sys.path if path != _here]
if (_other := importlib.machinery.PathFinder.find_spec("sitecustomize", _after)) and _other.loader:
    _other.loader.exec_module(importlib.util.module_from_spec(_other))
