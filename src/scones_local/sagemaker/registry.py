"""The model registry: groups of model packages, numbered from 1 in each, with their approval.

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/model-registry.html
"""

from dataclasses import dataclass

from scones_local.sagemaker.tables import ResourceTable, ResourceTables, invalid, now
from scones_local.storage import ObjectStore
from scones_local.wire import Json, ServiceError

GROUP_MEMBERS = ("ModelPackageGroupDescription",)
PACKAGE_MEMBERS = (
    *("ModelPackageGroupName", "ModelPackageDescription", "InferenceSpecification", "ModelMetrics"),
    *("MetadataProperties", "CustomerMetadataProperties", "DriftCheckBaselines", "Domain", "Task"),
)
GROUP_SUMMARY = (
    *("ModelPackageGroupName", "ModelPackageGroupArn", "ModelPackageGroupDescription", "CreationTime"),
    "ModelPackageGroupStatus",
)
PACKAGE_SUMMARY = (
    *("ModelPackageGroupName", "ModelPackageVersion", "ModelPackageArn", "ModelPackageDescription", "CreationTime"),
    *("ModelPackageStatus", "ModelApprovalStatus"),
)
APPROVALS = ("Approved", "Rejected", "PendingManualApproval")


@dataclass(slots=True)
class PackageRegistry:
    """Creates, describes, lists, approves and deletes model packages; only versioned ones, in groups."""

    tables: ResourceTables
    store: ObjectStore

    def create_group(self, query: Json) -> Json:
        """CreateModelPackageGroup."""
        name, table = query["ModelPackageGroupName"], self.tables.groups
        with self.tables.lock:
            if name in table.rows:
                raise invalid(f"Model Package Group already exists: {table.arn(name)}")
            kept = {member: query[member] for member in GROUP_MEMBERS if member in query}
            record = table.add(
                name,
                {**kept, "CreationTime": now(), "CreatedBy": {}, "ModelPackageGroupStatus": "Completed", "_last": 0},
            )
            self.tables.add_tags(record["ModelPackageGroupArn"], query.get("Tags"))
        return {"ModelPackageGroupArn": record["ModelPackageGroupArn"]}

    def describe_group(self, query: Json) -> Json:
        """DescribeModelPackageGroup."""
        return _shown(self._group(query["ModelPackageGroupName"]))

    def groups(self, query: Json) -> Json:
        """ListModelPackageGroups."""
        page = self.tables.groups.listing(query, GROUP_SUMMARY)
        return {"ModelPackageGroupSummaryList": page.pop("items"), **page}

    def delete_group(self, query: Json) -> Json:
        """DeleteModelPackageGroup: refused while the group holds packages."""
        with self.tables.lock:
            record = self._group(query["ModelPackageGroupName"])
            name = record["ModelPackageGroupName"]
            if any(row["ModelPackageGroupName"] == name for row in self.tables.packages.rows.values()):
                raise ServiceError("ConflictException", f"Model Package Group {name} still holds model packages.")
            del self.tables.groups.rows[name]
            self.tables.tags.pop(record["ModelPackageGroupArn"], None)
        return {}

    def create(self, query: Json) -> Json:
        """CreateModelPackage: the next version of its group; its model archives must exist."""
        if "ModelPackageGroupName" not in query:
            raise invalid("The local cloud keeps model packages in groups only: name a ModelPackageGroupName")
        if query.get("Tags"):
            raise invalid("Tags are not supported for versioned model packages: tag the model package group.")
        for container in query["InferenceSpecification"]["Containers"]:
            address = container.get("ModelDataUrl")
            if address and self.store.get(address) is None:
                raise invalid(f"Could not find model data at {address}.")
        approval = _known_approval(query.get("ModelApprovalStatus", "PendingManualApproval"))
        with self.tables.lock:
            group = self._group(query["ModelPackageGroupName"])
            group["_last"] += 1
            name = group["ModelPackageGroupName"]
            kept = {member: query[member] for member in PACKAGE_MEMBERS if member in query}
            record = self.tables.packages.add(
                f"{name}/{group['_last']}",
                {
                    **kept,
                    "ModelPackageName": name,
                    "ModelPackageGroupName": name,
                    "ModelPackageVersion": group["_last"],
                    "CreationTime": now(),
                    "ModelPackageStatus": "Completed",
                    "ModelApprovalStatus": approval,
                    "ModelPackageStatusDetails": {"ValidationStatuses": [], "ImageScanStatuses": []},
                },
            )
        return {"ModelPackageArn": record["ModelPackageArn"]}

    def describe(self, query: Json) -> Json:
        """DescribeModelPackage."""
        return _shown(self._package(query["ModelPackageName"]))

    def update(self, query: Json) -> Json:
        """UpdateModelPackage: approval, its reason, and the customer's own properties."""
        with self.tables.lock:
            record = self._package(query["ModelPackageArn"])
            if "ModelApprovalStatus" in query:
                record["ModelApprovalStatus"] = _known_approval(query["ModelApprovalStatus"])
            if "ApprovalDescription" in query:
                record["ApprovalDescription"] = query["ApprovalDescription"]
            if "CustomerMetadataProperties" in query:
                known = record.get("CustomerMetadataProperties", {})
                record["CustomerMetadataProperties"] = {**known, **query["CustomerMetadataProperties"]}
            record["LastModifiedTime"] = now()
        return {"ModelPackageArn": record["ModelPackageArn"]}

    def packages(self, query: Json) -> Json:
        """ListModelPackages of one group."""
        name = self._group(query["ModelPackageGroupName"])["ModelPackageGroupName"]
        approval = query.get("ModelApprovalStatus")
        rows = {
            key: row
            for key, row in list(self.tables.packages.rows.items())
            if row["ModelPackageGroupName"] == name and approval in (None, row["ModelApprovalStatus"])
        }
        found = ResourceTable("model-package", "model package", "ModelPackage", rows)
        page = found.listing({**query, "NameContains": ""}, PACKAGE_SUMMARY)
        return {"ModelPackageSummaryList": page.pop("items"), **page}

    def delete(self, query: Json) -> Json:
        """DeleteModelPackage; its number is not used again."""
        with self.tables.lock:
            record = self._package(query["ModelPackageName"])
            del self.tables.packages.rows[f"{record['ModelPackageGroupName']}/{record['ModelPackageVersion']}"]
        return {}

    def _group(self, name: str) -> Json:
        name = name.rpartition("/")[2]  # a name, or an ARN
        if name not in self.tables.groups.rows:
            raise invalid(f"ModelPackageGroup {self.tables.groups.arn(name)} does not exist.")
        return self.tables.groups.rows[name]

    def _package(self, arn: str) -> Json:
        name = arn.partition(":model-package/")[2]
        if name not in self.tables.packages.rows:
            raise invalid(f"ModelPackage {arn} does not exist.")
        return self.tables.packages.rows[name]


def _known_approval(status: str) -> str:
    if status not in APPROVALS:
        raise invalid(f"ModelApprovalStatus {status!r} is not one of {', '.join(APPROVALS)}")
    return status


def _shown(record: Json) -> Json:
    return {name: value for name, value in record.items() if not name.startswith("_")}
