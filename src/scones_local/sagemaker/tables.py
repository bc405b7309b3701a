"""SageMaker's resources: one table a kind, their ARNs and tags, and the errors about names."""

import re
import threading
import time
from dataclasses import dataclass, field

from scones_local.wire import Json, ServiceError, account

ARN = f"arn:aws:sagemaker:us-east-1:{account()}"

NAME = r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}"
CHANNEL_NAME = r"[A-Za-z0-9\.\-_]{1,64}"
"""The names that SageMaker accepts; folders of this machine are named after them."""


def check_name(member: str, name: str, pattern: str = NAME) -> None:
    """Refuse a name that SageMaker refuses.

    Raises:
        ServiceError: the name does not match *pattern*, or is a path.
    """
    if not re.fullmatch(pattern, name) or name in (".", ".."):
        reason = f"failed to satisfy constraint: Member must satisfy regular expression pattern: ^{pattern}$"
        raise invalid(f"1 validation error detected: Value {name!r} at {member!r} {reason}")


def invalid(message: str) -> ServiceError:
    """The error with which SageMaker refuses nearly everything."""
    return ServiceError("ValidationException", message)


@dataclass(slots=True)
class ResourceTable:
    """The resources of one kind, by name; *words* is their name in SageMaker's messages."""

    kind: str
    words: str
    title: str
    rows: dict[str, Json] = field(default_factory=dict)

    def arn(self, name: str) -> str:
        """The ARN of the resource *name*, whether it exists or not."""
        return f"{ARN}:{self.kind}/{name.lower() if self.kind == 'training-job' else name}"

    def find(self, name: str) -> Json:
        """The record of *name*.

        Raises:
            ServiceError: it does not exist.
        """
        if name not in self.rows:
            text = "Requested resource not found." if self.kind == "training-job" else None
            raise invalid(text or f'Could not find {self.words} "{self.arn(name)}".')
        return self.rows[name]

    def add(self, name: str, record: Json) -> Json:
        """Add a record.

        Raises:
            ServiceError: the name is taken, or not one that SageMaker accepts.
        """
        if self.kind != "model-package":  # named after its group, and numbered
            check_name(f"{self.title[0].lower()}{self.title[1:]}Name", name)
        if name in self.rows:
            if self.kind == "training-job":
                text = "Training job names must be unique within an AWS account and region, and a training job with "
                raise ServiceError("ResourceInUse", f"{text}this name already exists ({self.arn(name)})")
            raise invalid(f'Cannot create already existing {self.words} "{self.arn(name)}".')
        self.rows[name] = {f"{self.title}Name": name, f"{self.title}Arn": self.arn(name), **record}
        return self.rows[name]

    def listing(self, query: Json, members: tuple[str, ...]) -> Json:
        """A page of summaries, newest first unless the request says otherwise."""
        status = f"{self.title}Status"
        rows = [
            row
            for name, row in list(self.rows.items())
            if query.get("NameContains", "").lower() in name.lower()
            and query.get("StatusEquals", row.get(status)) == row.get(status)
        ]
        key = f"{self.title}Name" if query.get("SortBy") == "Name" else "CreationTime"
        rows.sort(key=lambda row: row[key], reverse=query.get("SortOrder", "Descending") == "Descending")
        begin, size = int(query.get("NextToken") or 0), int(query.get("MaxResults") or 100)
        page: Json = {"items": [{m: row[m] for m in members if m in row} for row in rows[begin : begin + size]]}
        return {**page, "NextToken": str(begin + size)} if begin + size < len(rows) else page


class ResourceTables:
    """Every table, the tags, and the lock for changes of state."""

    def __init__(self) -> None:
        self.jobs = ResourceTable("training-job", "training job", "TrainingJob")
        self.models = ResourceTable("model", "model", "Model")
        self.configs = ResourceTable("endpoint-config", "endpoint configuration", "EndpointConfig")
        self.endpoints = ResourceTable("endpoint", "endpoint", "Endpoint")
        self.groups = ResourceTable("model-package-group", "model package group", "ModelPackageGroup")
        self.packages = ResourceTable("model-package", "model package", "ModelPackage")
        self.targets: dict[str, Json] = {}
        """The scalable targets of Application Auto Scaling, by its name for a variant."""
        self.tags: dict[str, dict[str, str]] = {}
        self.lock = threading.RLock()

    def add_tags(self, arn: str, tags: list[Json] | None) -> None:
        """Add the tags of a create request."""
        if tags:
            self.tags.setdefault(arn, {}).update({tag["Key"]: tag["Value"] for tag in tags})

    def known_arn(self, arn: str) -> str:
        """*arn*, if a resource has it.

        Raises:
            ServiceError: no resource has it.
        """
        tables = (self.jobs, self.models, self.configs, self.endpoints, self.groups, self.packages)
        if any(arn in (row[f"{table.title}Arn"] for row in list(table.rows.values())) for table in tables):
            return arn
        raise invalid(f"Could not find resource: {arn}")


def now() -> float:
    """The time as SageMaker's JSON carries it: seconds since the epoch, to the millisecond."""
    return round(time.time(), 3)
