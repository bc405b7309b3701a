"""Application Auto Scaling: targets and policies are kept and described as on AWS, but never scale anything.

Source: https://docs.aws.amazon.com/autoscaling/application/APIReference/Welcome.html
"""

import time
import uuid
from collections.abc import Callable

from scones_local.sagemaker.tables import ResourceTables, invalid
from scones_local.wire import Json, Reply, ServiceError, account, respond

ARN = f"arn:aws:autoscaling:us-east-1:{account()}"
TARGET = f"arn:aws:application-autoscaling:us-east-1:{account()}:scalable-target"
ROLE = (
    f"arn:aws:iam::{account()}:role/aws-service-role/sagemaker.application-autoscaling.amazonaws.com/"
    "AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint"
)
DIMENSION = "sagemaker:variant:DesiredInstanceCount"
CAPACITIES = ("MinCapacity", "MaxCapacity")


class AutoScalingService:
    """The operations of Application Auto Scaling, for variants of endpoints only."""

    def __init__(self, tables: ResourceTables) -> None:
        self._tables = tables
        self._policies: dict[tuple[str, str], Json] = {}
        operations: dict[str, Callable[[Json], Json]] = {
            "RegisterScalableTarget": self._register,
            "DescribeScalableTargets": self._describe_targets,
            "DeregisterScalableTarget": self._deregister,
            "PutScalingPolicy": self._put_policy,
            "DescribeScalingPolicies": self._describe_policies,
        }
        self._operations = {name: self._checked(operation) for name, operation in operations.items()}

    async def handle(self, _method: str, _path: str, headers: dict[str, str], body: bytes, _query: Json) -> Reply:
        """Answer one request from ministack's router."""
        return respond(self._operations, headers, body)

    def _checked(self, operation: Callable[[Json], Json]) -> Callable[[Json], Json]:
        def run(query: Json) -> Json:
            if (query["ServiceNamespace"], query.get("ScalableDimension", DIMENSION)) != ("sagemaker", DIMENSION):
                raise invalid(f"The local cloud supports only the dimension {DIMENSION}")
            with self._tables.lock:
                return operation(query)

        return run

    def _register(self, query: Json) -> Json:
        name = query["ResourceId"]
        kind, _, rest = name.partition("/")
        if kind != "endpoint" or rest.partition("/")[0] not in self._tables.endpoints.rows:
            raise invalid(f"Could not find {name}")
        known = self._tables.targets.get(name, {})
        capacities = {member: query[member] for member in CAPACITIES if member in query}
        target = {
            "ServiceNamespace": "sagemaker",
            "ResourceId": name,
            "ScalableDimension": DIMENSION,
            "RoleARN": ROLE,
            "CreationTime": round(time.time(), 3),
            "ScalableTargetARN": f"{TARGET}/{uuid.uuid5(uuid.NAMESPACE_URL, name).hex}",
            **known,
            **capacities,
        }
        if not all(member in target for member in CAPACITIES) or target["MinCapacity"] > target["MaxCapacity"]:
            raise invalid("A target needs a MinCapacity, and a MaxCapacity of at least that")
        self._tables.targets[name] = target
        return {"ScalableTargetARN": target["ScalableTargetARN"]}

    def _describe_targets(self, query: Json) -> Json:
        names = query.get("ResourceIds") or list(self._tables.targets)
        return {"ScalableTargets": [self._tables.targets[name] for name in names if name in self._tables.targets]}

    def _deregister(self, query: Json) -> Json:
        """The target's policies are deleted with it."""
        del self._tables.targets[self._known(query["ResourceId"])]
        self._policies = {key: policy for key, policy in self._policies.items() if key[0] != query["ResourceId"]}
        return {}

    def _put_policy(self, query: Json) -> Json:
        name, policy = self._known(query["ResourceId"]), query["PolicyName"]
        if query.get("PolicyType") != "TargetTrackingScaling":
            raise invalid("The local cloud supports only the policy type TargetTrackingScaling")
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
        name = query.get("ResourceId")
        return {"ScalingPolicies": [policy for key, policy in self._policies.items() if name in (None, key[0])]}

    def _known(self, name: str) -> str:
        if name not in self._tables.targets:
            raise ServiceError("ObjectNotFoundException", f"No scalable target found for {name}")
        return name
