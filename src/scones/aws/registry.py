"""The model registry: an environment's models by number, their lineage, and whether they may be deployed."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from scones.aws.client import Client
from scones.domain.errors import CloudError
from scones.domain.naming import ENV_TAG
from scones.domain.result import StepResult

CONTENT_TYPES = ("application/x-image", "image/jpeg", "image/png")
_MAX_REASON = 1024


class ApprovalStatus(StrEnum):
    """SageMaker's states of a model's approval."""

    APPROVED = "Approved"
    REJECTED = "Rejected"
    PENDING = "PendingManualApproval"


class RegistryTaken(CloudError):
    """A model package group of this name exists that Scones did not create."""

    def __init__(self, group: str) -> None:
        super().__init__(
            f"the model package group {group!r} was not created by Scones: it has no tag {ENV_TAG}={group}; nothing "
            "was registered: use another --env"
        )
        self.group = group


class NoSuchModel(CloudError):
    """No model of that number is registered."""

    def __init__(self, number: int, group: str, known: list[int]) -> None:
        there = ", ".join(map(str, sorted(known))) or "none"
        super().__init__(
            f"there is no model {number} in {group!r}; registered: {there}; to train one, run: scones train"
        )
        self.number = number


@dataclass(frozen=True, slots=True)
class ModelRegistration:
    """A model to register; *statistics_uri* is its evaluation in S3, or empty."""

    image: str
    model_uri: str
    statistics_uri: str
    properties: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ModelPackage(StepResult):
    """A registered model; *reason* says why it is approved, rejected or pending."""

    number: int
    arn: str
    approval: ApprovalStatus
    reason: str
    model_uri: str
    properties: Mapping[str, str]


class Registry:
    """The model package group called *group*; every method raises AwsError as its call does."""

    def __init__(self, client: Client, group: str) -> None:
        self._client = client
        self.group = group

    def register(self, candidate: ModelRegistration) -> ModelPackage:
        """Register a model, pending approval; creates the group if needed.

        Raises:
            RegistryTaken: Scones did not create the group.
        """
        if not self.check_group():
            tags = [{"Key": ENV_TAG, "Value": self.group}]
            self._client.call("create_model_package_group", ModelPackageGroupName=self.group, Tags=tags)
        statistics = {"ContentType": "application/json", "S3Uri": candidate.statistics_uri}
        metrics = {"ModelMetrics": {"ModelQuality": {"Statistics": statistics}}} if candidate.statistics_uri else {}
        reply = self._client.call(
            "create_model_package",
            ModelPackageGroupName=self.group,
            # Listings show only the description, by which `find` finds a model.
            ModelPackageDescription=candidate.model_uri,
            InferenceSpecification={
                "Containers": [{"Image": candidate.image, "ModelDataUrl": candidate.model_uri}],
                "SupportedContentTypes": list(CONTENT_TYPES),
                "SupportedResponseMIMETypes": ["application/json"],
            },
            ModelApprovalStatus=ApprovalStatus.PENDING,
            CustomerMetadataProperties=dict(candidate.properties),
            **metrics,
        )
        return self._describe(reply["ModelPackageArn"])

    def check_group(self) -> bool:
        """Tell whether this environment's group exists.

        Raises:
            RegistryTaken: Scones did not create the group of this name.
        """
        if self.exists():
            return True
        if self._arn() is None:
            return False
        raise RegistryTaken(self.group)

    def decide(self, package: ModelPackage, approval: ApprovalStatus, reason: str) -> ModelPackage:
        """Approve or reject a model, or leave it waiting, and keep the reason.

        A model without a reason counts as not judged yet (`register`): a decision is never kept without one.
        """
        reason = reason.strip() or ("" if approval is ApprovalStatus.PENDING else "no reason was given")
        self._client.call(
            "update_model_package",
            ModelPackageArn=package.arn,
            ModelApprovalStatus=approval,
            ApprovalDescription=reason[:_MAX_REASON],
        )
        return self._describe(package.arn)

    def get(self, number: int) -> ModelPackage:
        """Read the model of that number.

        Raises:
            NoSuchModel: there is none.
        """
        known = {item["ModelPackageVersion"]: item["ModelPackageArn"] for item in self._summaries()}
        if number not in known:
            raise NoSuchModel(number, self.group, list(known))
        return self._describe(known[number])

    def find(self, model_uri: str) -> ModelPackage | None:
        """Read the newest entry of the model at *model_uri*, or None where it is not registered."""
        for item in self._summaries():
            if item.get("ModelPackageDescription") == model_uri:
                return self._describe(item["ModelPackageArn"])
        return None

    def numbers(self) -> list[int]:
        """The numbers of the registered models; none if Scones did not create the group."""
        return [item["ModelPackageVersion"] for item in self._summaries()] if self.exists() else []

    def exists(self) -> bool:
        """Tell whether this environment's own group exists."""
        arn = self._arn()
        if arn is None:
            return False
        tags = self._client.call("list_tags", ResourceArn=arn)["Tags"]
        return {"Key": ENV_TAG, "Value": self.group} in tags

    def delete(self) -> None:
        """Delete the group with all its models, if Scones created it."""
        if not self.exists():
            return
        # SageMaker refuses to delete a group that holds models.
        for item in list(self._summaries()):
            self._client.find("delete_model_package", ModelPackageName=item["ModelPackageArn"])
        self._client.find("delete_model_package_group", ModelPackageGroupName=self.group)

    def _summaries(self) -> Iterator[dict[str, Any]]:
        """Describe every model in short, newest first; nothing where there is no group."""
        query = {"ModelPackageGroupName": self.group, "SortBy": "CreationTime", "SortOrder": "Descending"}
        for page in self._client.find_pages("list_model_packages", **query):
            yield from page["ModelPackageSummaryList"]

    def _describe(self, arn: str) -> ModelPackage:
        found = self._client.call("describe_model_package", ModelPackageName=arn)
        return ModelPackage(
            number=found["ModelPackageVersion"],
            arn=arn,
            approval=ApprovalStatus(found["ModelApprovalStatus"]),
            reason=found.get("ApprovalDescription", ""),
            model_uri=found["InferenceSpecification"]["Containers"][0]["ModelDataUrl"],
            properties=found.get("CustomerMetadataProperties", {}),
        )

    def _arn(self) -> str | None:
        found = self._client.find("describe_model_package_group", ModelPackageGroupName=self.group)
        return str(found["ModelPackageGroupArn"]) if found else None
