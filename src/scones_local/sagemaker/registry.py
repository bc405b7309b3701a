"""The model registry: groups of model packages, numbered from 1 in each, with their approval.

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/model-registry.html
"""

from dataclasses import dataclass

from scones_local.sagemaker.records import Records, Table, invalid, now
from scones_local.storage import ObjectStore
from scones_local.wire import AwsError, Json

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
class Registry:
    """Creates, describes, lists, approves and deletes; only versioned packages, as groups hold them."""

    records: Records
    store: ObjectStore

    def create_group(self, query: Json) -> Json:
        """CreateModelPackageGroup."""
        name, table = query["ModelPackageGroupName"], self.records.groups
        with self.records.lock:
            if name in table.rows:
                raise invalid(f"Model Package Group already exists: {table.arn(name)}")
            kept = {member: query[member] for member in GROUP_MEMBERS if member in query}
            record = table.add(
                name,
                {**kept, "CreationTime": now(), "CreatedBy": {}, "ModelPackageGroupStatus": "Completed", "_last": 0},
            )
            self.records.remember_tags(record["ModelPackageGroupArn"], query.get("Tags"))
        return {"ModelPackageGroupArn": record["ModelPackageGroupArn"]}

    def describe_group(self, query: Json) -> Json:
        """DescribeModelPackageGroup."""
        return _shown(self._group(query["ModelPackageGroupName"]))

    def groups(self, query: Json) -> Json:
        """ListModelPackageGroups."""
        page = self.records.groups.listing(query, GROUP_SUMMARY)
        return {"ModelPackageGroupSummaryList": page.pop("items"), **page}

    def delete_group(self, query: Json) -> Json:
        """DeleteModelPackageGroup: refused while it holds packages."""
        with self.records.lock:
            record = self._group(query["ModelPackageGroupName"])
            name = record["ModelPackageGroupName"]
            if any(row["ModelPackageGroupName"] == name for row in self.records.packages.rows.values()):
                raise AwsError("ConflictException", f"Model Package Group {name} still holds model packages.")
            del self.records.groups.rows[name]
            self.records.tags.pop(record["ModelPackageGroupArn"], None)
        return {}

    def create(self, query: Json) -> Json:
        """CreateModelPackage: the next version of its group; its archives must exist."""
        if "ModelPackageGroupName" not in query:
            raise invalid("The local cloud keeps model packages in groups only: name a ModelPackageGroupName")
        if query.get("Tags"):
            raise invalid("Tags are not supported for versioned model packages: tag the model package group.")
        for container in query["InferenceSpecification"]["Containers"]:
            address = container.get("ModelDataUrl")
            if address and self.store.get(address) is None:
                raise invalid(f"Could not find model data at {address}.")
        approval = _known_approval(query.get("ModelApprovalStatus", "PendingManualApproval"))
        with self.records.lock:
            group = self._group(query["ModelPackageGroupName"])
            group["_last"] += 1
            name = group["ModelPackageGroupName"]
            kept = {member: query[member] for member in PACKAGE_MEMBERS if member in query}
            record = self.records.packages.add(
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
        with self.records.lock:
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
        wanted = query.get("ModelApprovalStatus")
        rows = {
            key: row
            for key, row in list(self.records.packages.rows.items())
            if row["ModelPackageGroupName"] == name and wanted in (None, row["ModelApprovalStatus"])
        }
        found = Table("model-package", "model package", "ModelPackage", rows)
        page = found.listing({**query, "NameContains": ""}, PACKAGE_SUMMARY)
        return {"ModelPackageSummaryList": page.pop("items"), **page}

    def delete(self, query: Json) -> Json:
        """DeleteModelPackage; its number is not given again."""
        with self.records.lock:
            record = self._package(query["ModelPackageName"])
            del self.records.packages.rows[f"{record['ModelPackageGroupName']}/{record['ModelPackageVersion']}"]
        return {}

    def _group(self, name: str) -> Json:
        name = name.rpartition("/")[2]  # a name, or an ARN
        if name not in self.records.groups.rows:
            raise invalid(f"ModelPackageGroup {self.records.groups.arn(name)} does not exist.")
        return self.records.groups.rows[name]

    def _package(self, arn: str) -> Json:
        name = arn.partition(":model-package/")[2]
        if name not in self.records.packages.rows:
            raise invalid(f"ModelPackage {arn} does not exist.")
        return self.records.packages.rows[name]


def _known_approval(status: str) -> str:
    if status not in APPROVALS:
        raise invalid(f"ModelApprovalStatus {status!r} is not one of {', '.join(APPROVALS)}")
    return status


def _shown(record: Json) -> Json:
    return {name: value for name, value in record.items() if not name.startswith("_")}
