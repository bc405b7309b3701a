"""Service Quotas: the limits of a new account's instances and builds, which a request changes at once.

A client asks for 0 to see what a new account answers. Source:
https://docs.aws.amazon.com/servicequotas/2019-06-24/apireference/Welcome.html
"""

import hashlib
from collections.abc import Callable

from scones_local.wire import Json, Reply, ServiceError, account, respond

ARN = f"arn:aws:servicequotas:us-east-1:{account()}"
BUILDS = "Concurrently running builds for Linux/Small environment"
INSTANCES = (
    *(f"ml.t2.{size}" for size in ("medium", "large", "xlarge")),
    *(f"ml.{family}.{size}" for family in ("m5", "c5") for size in ("large", "xlarge", "2xlarge", "4xlarge")),
    *(f"ml.g4dn.{size}" for size in ("xlarge", "2xlarge")),
    *("ml.p3.2xlarge", "ml.p2.xlarge"),
)
USES = ("endpoint usage", "training job usage", "spot training job usage")
DEFAULT = 1000.0
"""More than this machine runs: only who lowers a quota meets it."""


class ServiceQuotas:
    """The quotas of the services that the local cloud limits."""

    def __init__(self) -> None:
        names = [("sagemaker", f"{instance} for {use}") for instance in INSTANCES for use in USES]
        self._limits = dict.fromkeys([*names, ("codebuild", BUILDS)], DEFAULT)
        self._operations: dict[str, Callable[[Json], Json]] = {
            "ListServiceQuotas": self._list,
            "GetServiceQuota": lambda query: {"Quota": _described(*self._find(query))},
            "RequestServiceQuotaIncrease": self._request,
        }

    async def handle(self, _method: str, _path: str, headers: dict[str, str], body: bytes, _query: Json) -> Reply:
        """Answer one request from ministack's router."""
        return respond(self._operations, headers, body)

    def check_instances(self, name: str, used: int, wanted: int) -> None:
        """Refuse more instances than a quota of SageMaker allows.

        Raises:
            ServiceError: SageMaker's refusal.
        """
        limit = self._limits.get(("sagemaker", name), DEFAULT)
        if used + wanted > limit:
            raise ServiceError(
                "ResourceLimitExceeded",
                f"The account-level service limit '{name}' is {limit:.0f} Instances, with current utilization of "
                f"{used} Instances and a request delta of {wanted} Instances. Please use AWS Service Quotas to request "
                "an increase for this quota.",
            )

    def check_build(self) -> None:
        """Refuse a build in an account that may have none.

        Raises:
            ServiceError: CodeBuild's refusal.
        """
        if (limit := self._limits["codebuild", BUILDS]) < 1:
            text = f"Cannot have more than {limit:.0f} builds in queue for the account"
            raise ServiceError("AccountLimitExceededException", text)

    def _list(self, query: Json) -> Json:
        service = query["ServiceCode"]
        found = [_described(name, limit) for name, limit in self._limits.items() if name[0] == service]
        if not found:
            raise ServiceError("NoSuchResourceException", f"the local cloud limits nothing of {service}")
        begin, size = int(query.get("NextToken") or 0), int(query.get("MaxResults") or 100)
        page = {"Quotas": found[begin : begin + size]}
        return {**page, "NextToken": str(begin + size)} if begin + size < len(found) else page

    def _request(self, query: Json) -> Json:
        name, _ = self._find(query)
        self._limits[name] = float(query["DesiredValue"])
        asked = {"Id": _code(name), "Status": "APPROVED", "DesiredValue": query["DesiredValue"]}
        return {"RequestedQuota": {**asked, "ServiceCode": name[0], "QuotaCode": _code(name), "QuotaName": name[1]}}

    def _find(self, query: Json) -> tuple[tuple[str, str], float]:
        for name, limit in self._limits.items():
            if (name[0], _code(name)) == (query["ServiceCode"], query["QuotaCode"]):
                return name, limit
        raise ServiceError("NoSuchResourceException", f"there is no quota {query['QuotaCode']} here")


def _described(name: tuple[str, str], limit: float) -> Json:
    service, words = name
    return {
        "ServiceCode": service,
        "QuotaArn": f"{ARN}:{service}/{_code(name)}",
        "QuotaCode": _code(name),
        "QuotaName": words,
        "Value": limit,
        "Unit": "None",
        "Adjustable": True,
        "GlobalQuota": False,
    }


def _code(name: tuple[str, str]) -> str:
    return f"L-{hashlib.sha256('/'.join(name).encode()).hexdigest()[:8].upper()}"
