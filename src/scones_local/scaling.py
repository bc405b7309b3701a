"""Application Auto Scaling: targets and policies are kept and described as on AWS; nothing is ever scaled here.

Source: https://docs.aws.amazon.com/autoscaling/application/APIReference/Welcome.html
"""

import json
import time
import uuid
from collections.abc import Callable

from scones_local.sagemaker.records import Records
from scones_local.wire import AwsError, Json, Reply, error_reply, json_reply

ARN = "arn:aws:autoscaling:us-east-1:000000000000"
TARGET = "arn:aws:application-autoscaling:us-east-1:000000000000:scalable-target"
ROLE = (
    "arn:aws:iam::000000000000:role/aws-service-role/sagemaker.application-autoscaling.amazonaws.com/"
    "AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint"
)
DIMENSION = "sagemaker:variant:DesiredInstanceCount"
CAPACITIES = ("MinCapacity", "MaxCapacity")


class Scaling:
    """Everything that answers under the name of Application Auto Scaling; for variants of endpoints only."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._policies: dict[tuple[str, str], Json] = {}
        self._operations: dict[str, Callable[[Json], Json]] = {
            "RegisterScalableTarget": self._register,
            "DescribeScalableTargets": self._targets,
            "DeregisterScalableTarget": self._deregister,
            "PutScalingPolicy": self._put_policy,
            "DescribeScalingPolicies": self._describe_policies,
        }

    async def handle(self, _method: str, _path: str, headers: dict[str, str], body: bytes, _query: Json) -> Reply:
        """Answer one request, as ministack's router passes it on."""
        operation = headers.get("x-amz-target", "").rpartition(".")[2]
        query = json.loads(body or b"{}")
        try:
            return json_reply(self._run(operation, query))
        except KeyError as error:
            return error_reply(_invalid(f"{operation}: the member {error} is missing"))
        except AwsError as error:
            return error_reply(error)

    def _run(self, operation: str, query: Json) -> Json:
        if operation not in self._operations:
            raise AwsError("UnknownOperationException", f"{operation} is not part of the local cloud's scaling")
        if (query["ServiceNamespace"], query.get("ScalableDimension", DIMENSION)) != ("sagemaker", DIMENSION):
            raise _invalid(f"The local cloud knows the dimension {DIMENSION} only")
        with self._records.lock:
            return self._operations[operation](query)

    def _register(self, query: Json) -> Json:
        name = query["ResourceId"]
        kind, _, rest = name.partition("/")
        if kind != "endpoint" or rest.partition("/")[0] not in self._records.endpoints.rows:
            raise _invalid(f"Could not find {name}")
        known = self._records.targets.get(name, {})
        given = {member: query[member] for member in CAPACITIES if member in query}
        target = {
            "ServiceNamespace": "sagemaker",
            "ResourceId": name,
            "ScalableDimension": DIMENSION,
            "RoleARN": ROLE,
            "CreationTime": round(time.time(), 3),
            "ScalableTargetARN": f"{TARGET}/{uuid.uuid5(uuid.NAMESPACE_URL, name).hex}",
            **known,
            **given,
        }
        if not all(member in target for member in CAPACITIES) or target["MinCapacity"] > target["MaxCapacity"]:
            raise _invalid("A target has a MinCapacity, and a MaxCapacity that is no less")
        self._records.targets[name] = target
        return {"ScalableTargetARN": target["ScalableTargetARN"]}

    def _targets(self, query: Json) -> Json:
        wanted = query.get("ResourceIds") or list(self._records.targets)
        return {"ScalableTargets": [self._records.targets[name] for name in wanted if name in self._records.targets]}

    def _deregister(self, query: Json) -> Json:
        """What hangs on the target goes with it."""
        del self._records.targets[self._known(query["ResourceId"])]
        self._policies = {key: policy for key, policy in self._policies.items() if key[0] != query["ResourceId"]}
        return {}

    def _put_policy(self, query: Json) -> Json:
        name, policy = self._known(query["ResourceId"]), query["PolicyName"]
        if query.get("PolicyType") != "TargetTrackingScaling":
            raise _invalid("The local cloud knows the policy type TargetTrackingScaling only")
        arn = f"{ARN}:scalingPolicy:1:resource/sagemaker/{name}:policyName/{policy}"
        self._policies[name, policy] = {
            "PolicyARN": arn,
            "PolicyName": policy,
            "ServiceNamespace": "sagemaker",
            "ResourceId": name,
            "ScalableDimension": DIMENSION,
            "PolicyType": "TargetTrackingScaling",
            "Alarms": [],
            "TargetTrackingScalingPolicyConfiguration": query["TargetTrackingScalingPolicyConfiguration"],
            "CreationTime": round(time.time(), 3),
        }
        return {"PolicyARN": arn, "Alarms": []}

    def _describe_policies(self, query: Json) -> Json:
        wanted = query.get("ResourceId")
        return {"ScalingPolicies": [policy for key, policy in self._policies.items() if wanted in (None, key[0])]}

    def _known(self, name: str) -> str:
        if name not in self._records.targets:
            raise AwsError("ObjectNotFoundException", f"No scalable target found for {name}")
        return name


def _invalid(message: str) -> AwsError:
    return AwsError("ValidationException", message)
