"""Template: the CloudFormation template, the functions' zip, the image's sources, and the base stack."""

import hashlib
import io
import json
import re
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

from scones.aws.client import PARTITIONS
from scones.aws.cloudformation import Stack, Tell
from scones.aws.connection import Aws
from scones.config.settings import Settings
from scones.domain import VERSION
from scones.domain.naming import code_key, image_source_key

CAPTURE_PARAMETER = "FunctionCapture"
"""The stack's parameter that turns on data capture by the classify function."""

_WORKFLOW = "WithWorkflow"
"""The template's condition for all resources that need the functions."""

_INTEGRATIONS = '"arn:aws:states:::'
_PACKAGE = files("scones")

# The functions carry no model code: these modules need nothing but the standard library and Lambda's own boto3.
_FUNCTION_MODULES = (
    "__init__.py",
    "data/__init__.py",
    "data/image_header.py",
    "dispatch/__init__.py",
    "dispatch/order_book.py",
    "dispatch/orders.py",
    "domain/__init__.py",
    "domain/decision.py",
    "domain/errors.py",
    "domain/naming.py",
    "domain/notification.py",
    "domain/text.py",
    "domain/vehicles.py",
    "domain/wire.py",
    "lambdas/__init__.py",
    "lambdas/classify.py",
    "lambdas/classify_batch.py",
    "lambdas/dispatch.py",
    "lambdas/filter.py",
    "lambdas/notify.py",
    "lambdas/reap.py",
    "lambdas/serialize.py",
    "lambdas/services.py",
)
_FUNCTION_NAME = re.compile(r"FunctionName: !Sub scones-\$\{Env\}-([\w-]+)")
# The same sources must result in the same zip, so that an unchanged release changes nothing.
_ZIP_DATE = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class FunctionCode:
    """The functions' zip, and the S3 key that names its content."""

    key: str
    body: bytes


def function_code() -> FunctionCode:
    """Zip the Lambda functions; the same sources result in the same bytes."""
    # The package's own module is for users: it names what is not in the zip.
    body = zip_entries(
        (f"scones/{name}", b"" if name == "__init__.py" else _PACKAGE.joinpath(name).read_bytes())
        for name in _FUNCTION_MODULES
    )
    return FunctionCode(code_key(f"functions-{hashlib.sha256(body).hexdigest()[:16]}.zip"), body)


def code_version() -> str:
    """Name the version of Scones and of its functions."""
    return f"scones-{VERSION} {function_code().key.rpartition('/')[2].removesuffix('.zip')}"


def function_release(parameters: Mapping[str, str]) -> str:
    """Hash the template and the functions' *parameters*: if either changes, new function versions are published."""
    content = json.dumps([template(), sorted(parameters.items())])
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def zip_entries(entries: Iterable[tuple[str, bytes]]) -> bytes:
    """Zip names and contents; the same entries in the same order result in the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, body in entries:
            entry = zipfile.ZipInfo(name, _ZIP_DATE)
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, body, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def template() -> dict[str, object]:
    """Join the parts of infra/stack/, with each state machine's file as its native Definition."""
    stack: dict[str, object] = json.loads(_template_text())
    return stack


@cache
def _template_text() -> str:
    """The template as JSON, which is faster to copy than YAML is to parse."""
    stack: dict[str, object] = {}
    for part in sorted(_PACKAGE.joinpath("infra/stack").iterdir(), key=lambda part: part.name):
        _join(stack, _read_yaml(part.read_text()))
    resources = stack["Resources"]
    assert isinstance(resources, dict)  # noqa: S101 - our own file
    for resource in resources.values():
        properties = resource["Properties"]
        if resource["Type"] == "AWS::StepFunctions::StateMachine":
            properties["Definition"] = state_machine(properties.pop("DefinitionS3Location"))
    return json.dumps(stack)


@cache
def function_names() -> tuple[str, ...]:
    """Name the template's functions, without the environment's name before them; it is not parsed for that."""
    parts = sorted(_PACKAGE.joinpath("infra/stack").iterdir(), key=lambda part: part.name)
    return tuple(name for part in parts for name in _FUNCTION_NAME.findall(part.read_text()))


def base_template() -> dict[str, object]:
    """The template without the workflow's resources: short enough to be sent without a bucket."""
    stack = template()
    conditions = stack["Conditions"]
    assert isinstance(conditions, dict)  # noqa: S101 - our own file
    later = {name for name, rule in conditions.items() if name == _WORKFLOW or f'"{_WORKFLOW}"' in json.dumps(rule)}
    for section in ("Resources", "Outputs"):
        entries = stack[section]
        assert isinstance(entries, dict)  # noqa: S101
        stack[section] = {name: entry for name, entry in entries.items() if entry.get("Condition") not in later}
    return stack


def template_for(aws: Aws, parameters: Mapping[str, str], *, base: bool = False) -> dict[str, object]:
    """The template as it is sent, with these *parameters*; with *base*, the base stack's.

    Each partition has its own ARNs of the integrations of Step Functions, and CloudFormation refuses a template with a
    type that its region does not have, even if a condition leaves the resource out: budgets are in half of the regions.
    """
    stack = base_template() if base else template()
    resources = stack["Resources"]
    assert isinstance(resources, dict)  # noqa: S101 - our own file
    if float(parameters.get("MonthlyDollars", 0)) == 0:
        del resources["Budget"]
    email = resources.pop("EmailSubscription", None)
    for address in filter(None, parameters.get("Emails", "").split(",") if email else ()):
        # Named by the address: another one beside it leaves this one as it is, confirmed.
        name = f"EmailSubscription{hashlib.sha256(address.encode()).hexdigest()[:8]}"
        resources[name] = email | {"Properties": email["Properties"] | {"Endpoint": address}}
    sent: dict[str, object] = json.loads(json.dumps(stack).replace(_INTEGRATIONS, f'"arn:{aws.partition}:states:::'))
    return sent


def parameter_names(stack: Mapping[str, object]) -> set[str]:
    """The names of a template's parameters."""
    parameters = stack["Parameters"]
    assert isinstance(parameters, dict)  # noqa: S101 - our own file
    return set(parameters)


def _join(stack: dict[str, object], part: Mapping[str, object]) -> None:
    """Add the entries of each section of *part*; no name may come twice."""
    for section, entries in part.items():
        if isinstance(entries, dict):
            known = stack.setdefault(section, {})
            assert isinstance(known, dict)  # noqa: S101 - our own files
            assert not known.keys() & entries.keys()  # noqa: S101
            known.update(entries)
        else:
            stack[section] = entries


def state_machine(name: str) -> dict[str, object]:
    """Read one state machine from infra/; CloudFormation substitutes its `${...}`."""
    states: dict[str, object] = json.loads(_PACKAGE.joinpath("infra", name).read_text())
    return states


def _read_yaml(text: str) -> Mapping[str, object]:
    """Read YAML with CloudFormation's short forms, such as `!Ref` and `!GetAtt`."""
    import yaml  # noqa: PLC0415 - most commands read no template

    # libyaml's loader is ten times as fast; PyYAML may have been built without it.
    class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
        pass

    Loader.add_multi_constructor("!", _short_form)
    parsed: Mapping[str, object] = yaml.load(text, Loader)  # noqa: S506 - it is a safe loader
    return parsed


def _short_form(loader: Any, suffix: str, node: Any) -> Mapping[str, object]:  # noqa: ANN401 - yaml's own
    value: object
    if node.id == "scalar":
        value = loader.construct_scalar(node)
    elif node.id == "sequence":
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    if suffix == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {suffix if suffix in {"Ref", "Condition"} else f"Fn::{suffix}": value}


def create_base_stack(aws: Aws, settings: Settings, tell: Tell) -> None:
    """Create the base stack, with the bucket, unless it exists.

    Raises:
        StackFailed: with CloudFormation's first reason.
    """
    if not aws.stack.base_exists(tell):
        parameters = base_parameters(aws, settings)
        aws.stack.deploy(template_for(aws, parameters, base=True), parameters, tell)


def base_parameters(aws: Aws, settings: Settings) -> dict[str, str]:
    """The stack's parameters of the base stack: name, retention, encryption and notices."""
    chosen = {
        "Env": aws.env,
        "AlarmSeconds": str(settings.alarm_period),
        "Kms": settings.kms,
        "PhotoDays": str(settings.photo_retention_days),
        "EndpointHours": str(settings.endpoint_lifetime_hours),
        "MonthlyDollars": str(settings.monthly_budget_dollars),
    }
    return chosen | _kept(aws.stack.find())


def _kept(stack: Stack | None) -> dict[str, str]:
    """The parameters that stay: the one that `deploy` set, and an existing KMS key, which encrypted the data."""
    found = stack.parameters if stack else {}
    kept = {CAPTURE_PARAMETER} | ({"Kms"} if found.get("Kms") == "yes" else set())
    return {name: value for name, value in found.items() if name in kept}


_RECIPE = _PACKAGE.joinpath("infra", "image")

# The image does not need the templates of CloudFormation and CodeBuild.
_LEFT_OUT = {"infra", "__pycache__"}


@dataclass(frozen=True, slots=True)
class ImageSource:
    """A zip with the Dockerfile at its root; *tag* is its hash, *base* the base image."""

    tag: str
    base: str
    body: bytes

    @property
    def key(self) -> str:
        """The zip's key in the environment's bucket."""
        return image_source_key(self.tag)


@cache
def image_source() -> ImageSource:
    """Zip the Dockerfile, the pinned requirements and the package; the same sources have the same tag."""
    entries = sorted([*_entries(_RECIPE, ""), *_entries(_PACKAGE, "scones/")])
    whole = hashlib.sha256()
    # A hash of the contents, not of the zip: versions of zlib may compress differently.
    for name, body in entries:
        whole.update(hashlib.sha256(name.encode()).digest() + hashlib.sha256(body).digest())
    return ImageSource(whole.hexdigest()[:16], _base(), zip_entries(entries))


def unpublished_requirements() -> tuple[str, ...]:
    """The image's requirements of a local version, such as `1.0+cpu`, which no package index of pip's own has."""
    lines = _RECIPE.joinpath("requirements.txt").read_text().splitlines()
    return tuple(line for line in lines if "+" in line.partition("#")[0])


def _base() -> str:
    """The base image, by its digest if pins.json has one."""
    pin = json.loads(_RECIPE.joinpath("pins.json").read_text())["base"]
    return f"{pin['name']}@{pin['digest']}" if pin["digest"] else str(pin["name"])


def _entries(folder: Traversable, prefix: str) -> Iterator[tuple[str, bytes]]:
    for item in folder.iterdir():
        if item.is_file():
            yield prefix + item.name, item.read_bytes()
        elif item.name not in _LEFT_OUT:
            yield from _entries(item, f"{prefix}{item.name}/")


def image_uri(aws: Aws) -> str:
    """The container image for training, serving and monitoring; its tag is the hash of its sources."""
    registry = f"{aws.account}.dkr.ecr.{aws.region}.{PARTITIONS[aws.partition]}"
    # The image does not hold the recipe that is a part of its sources, but the stack knows which image runs.
    stack = None if _RECIPE.is_dir() else aws.stack.find()
    return f"{registry}/{aws.name}:{stack.parameters['ImageTag'] if stack else image_source().tag}"
