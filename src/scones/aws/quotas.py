"""Service quotas: the limits of an AWS account."""

from dataclasses import dataclass

from scones.aws.client import AwsError, Client
from scones.domain.errors import CloudError

_DENIED = ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation")


@dataclass(frozen=True, slots=True)
class ServiceQuota:
    """A limit of the account; *code* identifies it in a request for more."""

    code: str
    limit: float


class QuotaUnavailable(CloudError):
    """A quota could not be read; the message says why."""


class Quotas:
    """Service Quotas."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def find(self, service: str, name: str) -> ServiceQuota | None:
        """Find a quota by its name; None if the service has no such quota.

        Raises:
            QuotaUnavailable: the caller lacks the permission, or the service does not answer.
        """
        try:
            for page in self._client.pages("list_service_quotas", ServiceCode=service):
                for item in page["Quotas"]:
                    if item["QuotaName"] == name:
                        return ServiceQuota(item["QuotaCode"], item["Value"])
        except AwsError as error:
            raise quota_unavailable(error, "servicequotas:ListServiceQuotas") from error
        return None


def quota_unavailable(error: AwsError, action: str) -> QuotaUnavailable:
    """Explain why *action* gave no answer."""
    if error.code in _DENIED:
        return QuotaUnavailable(f"these credentials may not call {action}")
    return QuotaUnavailable(f"{error.service} answered {error.code} here")
