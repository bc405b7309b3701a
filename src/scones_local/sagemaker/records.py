"""SageMaker's records: what exists, under which ARN, with which tags; and the reply when something does not."""

import threading
import time
from dataclasses import dataclass, field

from scones_local.wire import AwsError, Json

ARN = "arn:aws:sagemaker:us-east-1:000000000000"


def invalid(message: str) -> AwsError:
    """SageMaker's answer to nearly everything that it refuses."""
    return AwsError("ValidationException", message)


@dataclass(slots=True)
class Table:
    """The resources of one kind, by name; *words* is how SageMaker's messages call one."""

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
            AwsError: there is none.
        """
        if name not in self.rows:
            text = "Requested resource not found." if self.kind == "training-job" else None
            raise invalid(text or f'Could not find {self.words} "{self.arn(name)}".')
        return self.rows[name]

    def add(self, name: str, record: Json) -> Json:
        """Keep a new record.

        Raises:
            AwsError: the name is taken.
        """
        if name in self.rows:
            if self.kind == "training-job":
                text = "Training job names must be unique within an AWS account and region, and a training job with "
                raise AwsError("ResourceInUse", f"{text}this name already exists ({self.arn(name)})")
            raise invalid(f'Cannot create already existing {self.words} "{self.arn(name)}".')
        self.rows[name] = {f"{self.title}Name": name, f"{self.title}Arn": self.arn(name), **record}
        return self.rows[name]

    def listing(self, query: Json, members: tuple[str, ...]) -> Json:
        """A page of summaries, newest first unless asked otherwise."""
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


class Records:
    """Every table, the tags, and the lock that guards changes of state."""

    def __init__(self) -> None:
        self.jobs = Table("training-job", "training job", "TrainingJob")
        self.models = Table("model", "model", "Model")
        self.configs = Table("endpoint-config", "endpoint configuration", "EndpointConfig")
        self.endpoints = Table("endpoint", "endpoint", "Endpoint")
        self.groups = Table("model-package-group", "model package group", "ModelPackageGroup")
        self.packages = Table("model-package", "model package", "ModelPackage")
        self.targets: dict[str, Json] = {}
        """What Application Auto Scaling would scale, by the name that it gives a variant."""
        self.tags: dict[str, dict[str, str]] = {}
        self.lock = threading.RLock()

    def remember_tags(self, arn: str, tags: list[Json] | None) -> None:
        """Keep the tags that came with a creation."""
        if tags:
            self.tags.setdefault(arn, {}).update({tag["Key"]: tag["Value"] for tag in tags})

    def known_arn(self, arn: str) -> str:
        """*arn*, if it is that of something here.

        Raises:
            AwsError: it is not.
        """
        tables = (self.jobs, self.models, self.configs, self.endpoints, self.groups, self.packages)
        if any(arn in (row[f"{table.title}Arn"] for row in list(table.rows.values())) for table in tables):
            return arn
        raise invalid(f"Could not find resource: {arn}")


def now() -> float:
    """The time as SageMaker's JSON carries it: seconds since the epoch, to the millisecond."""
    return round(time.time(), 3)


def acceptable_image(image: str, prefix: str) -> None:
    """Refuse an image whose repository is not one that this cloud has a program for.

    Raises:
        AwsError: the repository name does not begin with *prefix*.
    """
    registry, slash, rest = image.partition("/")
    name = rest if slash and ("." in registry or ":" in registry) else image
    repository = name.split("@")[0].split(":")[0]
    if not repository.startswith(prefix):
        raise invalid(
            f"Image {image!r} cannot run in the local cloud: its repository is {repository!r}, "
            f"and only repositories whose name begins with {prefix!r} stand for a program here"
        )
