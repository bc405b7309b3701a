"""SageMaker's built-in image-classification algorithm: its images, its metrics, and which of its jobs can run here.

The program that `Programs.image_classification` names trains in its place. Sources: the algorithm's page,
https://docs.aws.amazon.com/sagemaker/latest/dg/image-classification.html, and for the registries the file
`image_uri_config/image-classification.json` of the SageMaker Python SDK 2.257.7 (November 2026).
"""

import re

from scones_local.sagemaker.tables import invalid
from scones_local.wire import Json

REPOSITORY = "image-classification"
_REGISTRIES = """
    af-south-1=455444449433 ap-east-1=286214385809 ap-northeast-1=501404015308 ap-northeast-2=306986355934
    ap-northeast-3=867004704886 ap-south-1=991648021394 ap-south-2=628508329040 ap-southeast-1=475088953585
    ap-southeast-2=544295431143 ap-southeast-3=951798379941 ap-southeast-4=106583098589 ca-central-1=469771592824
    ca-west-1=190319476487 cn-north-1=390948362332 cn-northwest-1=387376663083 eu-central-1=813361260812
    eu-central-2=680994064768 eu-north-1=669576153137 eu-south-1=257386234256 eu-south-2=104374241257
    eu-west-1=685385470294 eu-west-2=644912444149 eu-west-3=749696950732 il-central-1=898809789911
    me-central-1=272398656194 me-south-1=249704162688 sa-east-1=855470959533 us-east-1=811284229777
    us-east-2=825641698319 us-gov-east-1=237065988967 us-gov-west-1=226302683700 us-iso-east-1=490574956308
    us-isob-east-1=765400339828 us-isof-east-1=108575199400 us-isof-south-1=124985052026 us-west-1=632365934929
    us-west-2=433757028032
"""
REGISTRIES = dict(entry.split("=") for entry in _REGISTRIES.split())
"""The account of AWS whose registry has the image, by region."""
IMAGE = re.compile(rf"([0-9]{{12}})\.dkr\.ecr(?:-fips)?\.([a-z0-9-]+)\.[a-z0-9.-]+/{REPOSITORY}(?:[:@](.*))?")
TAGS = re.compile(r"1|latest|(.+@)?sha256:[0-9a-f]{64}")
CHANNELS = ("train", "validation", "train_lst", "validation_lst")
METRICS = (
    {"Name": "train:accuracy", "Regex": r"Epoch\S* Train-accuracy=(\S*)"},
    {"Name": "validation:accuracy", "Regex": r"Epoch\S* Validation-accuracy=(\S*)"},
)
"""What is read from the job's log, in the form that the algorithm writes."""
WRONG_INPUT = 2
"""The exit code of a program of AWS for a mistake of the client."""
SUPPORTED = "supported are photos as application/x-image, image/png or image/jpeg, each with a row in a .lst file"


def is_algorithm(image: str) -> bool:
    """Whether *image* is the algorithm's, of any region.

    Raises:
        ServiceError: the repository is the algorithm's, but not the registry of that region, or not the tag.
    """
    found = IMAGE.fullmatch(image)
    if found is None:
        return False
    account, region, tag = found.groups()
    if REGISTRIES.get(region) != account:
        known = REGISTRIES.get(region)
        where = f"in {region} it is in the registry {known}" if known else f"SageMaker has none in {region!r}"
        raise invalid(f"The image {image!r} is not that of the algorithm {REPOSITORY}: {where}")
    if not TAGS.fullmatch(tag or "latest"):
        raise invalid(f"The algorithm {REPOSITORY} has no image with the tag {tag!r}; its tags are 1 and latest")
    return True


def check_job(query: Json) -> None:
    """Refuse what the algorithm refuses at once, and modes that the local cloud does not support.

    Raises:
        ServiceError: metric definitions, RecordIO, Pipe mode, manifests, incremental training, several labels.
    """
    algorithm = query["AlgorithmSpecification"]
    if algorithm.get("MetricDefinitions"):
        raise invalid(
            "You can't override the metric definitions for Amazon SageMaker algorithms. "
            "Please retry the request without specifying metric definitions."
        )
    for channel in query.get("InputDataConfig") or ():
        if reason := _unsupported(channel, algorithm.get("TrainingInputMode", "File")):
            raise _refusal(f"channel {channel['ChannelName']}: {reason}")
    if (query.get("HyperParameters") or {}).get("multi_label", "0") not in ("0", ""):
        raise _refusal("several labels for one photo (multi_label) are not supported")


def _unsupported(channel: Json, mode: str) -> str | None:
    """What the local cloud does not support of a channel, if there is something."""
    source = channel["DataSource"].get("S3DataSource") or {}
    mode = channel.get("InputMode") or mode
    if channel["ChannelName"] == "model":
        return "incremental training (a channel `model`) is not supported"
    if "recordio" in channel.get("ContentType", "").lower() or channel.get("RecordWrapperType") == "RecordIO":
        return "RecordIO (application/x-recordio) is not supported"
    if (kind := source.get("S3DataType", "S3Prefix")) != "S3Prefix":
        return f"S3DataType {kind} is not supported, only S3Prefix"
    return f"{mode} mode is not supported, only File" if mode not in ("File", "FastFile") else None


def _refusal(reason: str) -> Exception:
    return invalid(f"The algorithm {REPOSITORY} on the local cloud: {reason}; {SUPPORTED}")
