"""Connection: every AWS service that the steps use, for one environment of one account; and its service quotas."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from scones.aws.client import AwsError, Client, Credentials, check_region, partition
from scones.aws.cloudformation import Stacks
from scones.aws.cloudwatch import Logs, Metrics, Notices
from scones.aws.dynamodb import Tables
from scones.aws.ecr import Images
from scones.aws.registry import Registry
from scones.aws.s3 import Bucket
from scones.aws.sagemaker import SageMaker, Scaling
from scones.aws.stepfunctions import Batches, Functions, Workflow
from scones.config.settings import Settings
from scones.domain.errors import CloudError
from scones.domain.naming import manifest_key

if TYPE_CHECKING:
    from scones.data.dataset import Sample

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
                        return ServiceQuota(item["QuotaCode"], item["Value"]) if "Value" in item else None
        except AwsError as error:
            raise quota_unavailable(error, "servicequotas:ListServiceQuotas") from error
        return None


def quota_unavailable(error: AwsError, action: str) -> QuotaUnavailable:
    """Explain why *action* gave no answer."""
    if error.code in _DENIED:
        return QuotaUnavailable(f"these credentials may not call {action}")
    return QuotaUnavailable(f"{error.service} answered {error.code} here")


@dataclass(frozen=True, slots=True)
class Aws:
    """The AWS services of one environment."""

    env: str
    account: str
    region: str
    caller: str
    """The ARN of the credentials' user or role."""
    bucket: Bucket
    stack: Stacks
    sagemaker: SageMaker
    registry: Registry
    scaling: Scaling
    workflow: Workflow
    functions: Functions
    batches: Batches
    notices: Notices
    logs: Logs
    tables: Tables
    metrics: Metrics
    images: Images
    quotas: Quotas
    client: Callable[[str], Client]
    """Opens any other service by its boto3 name."""

    @property
    def name(self) -> str:
        """The name of the stack, the endpoint and the state machine."""
        return f"scones-{self.env}"

    @property
    def person(self) -> str:
        """The name of the credentials' user, or of the role's session."""
        return self.caller.rpartition("/")[2].rpartition(":")[2]

    @property
    def prefix(self) -> str:
        """The prefix of the names of all training jobs, models and endpoint configurations."""
        return f"{self.name}--"

    @property
    def partition(self) -> str:
        """The partition of the region, a part of every ARN."""
        return partition(self.region)

    @property
    def batch_machine(self) -> str:
        """The ARN of the state machine for batches, even if it does not exist."""
        return f"arn:{self.partition}:states:{self.region}:{self.account}:stateMachine:{self.name}-batch"

    @property
    def retrain_machine(self) -> str:
        """The ARN of the state machine for retrainings, even if it does not exist."""
        return f"{self.batch_machine.removesuffix('-batch')}-retrain"

    def training_samples(self, data_version: str) -> "tuple[Sample, ...]":
        """Read the training part of a data version's manifest; none where the version was deleted."""
        from scones.data.dataset import from_lines

        return from_lines(self.bucket.find(manifest_key(data_version, "train")) or b"", self.bucket.name)


def connect(settings: Settings, credentials: Credentials | None = None) -> Aws:
    """Identify the caller, and open each service.

    Raises:
        AwsUnreachable: no or invalid credentials, no such region, or no answer.
    """
    if settings.endpoint_url is None:
        check_region(settings.region)

    @cache
    def client(service: str) -> Client:
        return Client(settings, service, credentials)

    # The first call shows whether AWS answers at all; more attempts would only delay the error.
    identity = Client(settings, "sts", credentials, attempts=2).call("get_caller_identity")
    account = identity["Account"]
    bucket = Bucket(client("s3"), f"{settings.stack}-{account}-{settings.region}")
    return Aws(
        env=settings.env,
        account=account,
        region=settings.region,
        caller=identity["Arn"],
        bucket=bucket,
        stack=Stacks(client("cloudformation"), settings.stack, bucket),
        sagemaker=SageMaker(client("sagemaker"), client("sagemaker-runtime")),
        registry=Registry(client("sagemaker"), settings.stack),
        scaling=Scaling(client("application-autoscaling"), settings.stack),
        workflow=Workflow(client("stepfunctions")),
        functions=Functions(client("lambda"), settings.stack),
        batches=Batches(client("stepfunctions")),
        notices=Notices(client("sns")),
        logs=Logs(client("logs")),
        tables=Tables(client("dynamodb"), settings.stack),
        metrics=Metrics(client("cloudwatch")),
        images=Images(client("ecr"), client("codebuild"), settings.stack),
        # An optional check: more attempts would only delay the work.
        quotas=Quotas(Client(settings, "service-quotas", credentials, attempts=1)),
        client=client,
    )
