"""Containers: programs in their place, `/opt/ml` as a folder, training data in, checkpoints and archives out."""

import io
import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from scones_local.cloud import Programs, repository_of
from scones_local.logs import LogStore
from scones_local.sagemaker.image_classification import REPOSITORY, is_algorithm
from scones_local.sagemaker.tables import invalid
from scones_local.storage import ObjectStore, split_uri
from scones_local.wire import Json

CHECKPOINTS = "/opt/ml/checkpoints"
HOST = "localhost"  # `algo-1` does not resolve outside SageMaker's network


class ContainerError(Exception):
    """Data or an archive that a container needs cannot be used; the message is SageMaker's."""


class ContainerRunner:
    """Starts the programs that run in place of containers, and gives them S3 and CloudWatch Logs."""

    def __init__(self, programs: Programs, environment: dict[str, str]) -> None:
        self.programs = programs
        self.store = ObjectStore()
        self.logs = LogStore()
        self._environment = {**environment, "PYTHONUNBUFFERED": "1", **programs.variables}

    def start(self, program: tuple[str, ...], folder: Path, variables: dict[str, str]) -> subprocess.Popen[bytes]:
        """Start *program* in *folder*; its output and errors come through its `stdout`."""
        return subprocess.Popen(
            list(program),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env={**self._environment, **variables},
        )

    def check_image(self, image: str) -> None:
        """Refuse an image that no program runs in place of.

        Raises:
            ServiceError: the repository name does not begin with the prefix of the accepted images, and it is not the
                built-in algorithm's.
        """
        if self.programs.accept(image) or (is_algorithm(image) and self.programs.image_classification):
            return
        prefix, algorithm = self.programs.image_prefix, self.programs.image_classification
        accepted = [f"images whose name begins with {prefix!r}"] if prefix else []
        accepted += [f"SageMaker's algorithm {REPOSITORY!r}"] if algorithm else []
        raise invalid(
            f"Image {image!r} cannot run in the local cloud: its repository is {repository_of(image)!r}, and "
            f"programs run only in place of {' and of '.join(accepted)}"
            if accepted
            else "Images cannot run in this local cloud: it was started without programs to run in their place"
        )

    def trains_algorithm(self, image: str) -> bool:
        """Whether *image*, which was checked, is the built-in algorithm's and no program of the user's has its name."""
        return not self.programs.accept(image) and is_algorithm(image)


def write_config(folder: Path, record: Json) -> None:
    """Create the folder that is `/opt/ml` to the training program."""
    for name in ("input/config", "input/data", "model", "output/data", "checkpoints"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    channels = record.get("InputDataConfig") or []
    files = {
        "hyperparameters.json": {k: str(v) for k, v in (record.get("HyperParameters") or {}).items()},
        "inputdataconfig.json": {c["ChannelName"]: _channel_entry(c) for c in channels},
        "resourceconfig.json": {"current_host": HOST, "hosts": [HOST], "network_interface_name": "lo"},
    }
    for name, content in files.items():
        (folder / "input" / "config" / name).write_text(json.dumps(content))


def _channel_entry(channel: Json) -> Json:
    return {
        "TrainingInputMode": channel.get("InputMode") or "File",
        "ContentType": channel.get("ContentType", ""),
        "S3DistributionType": channel["DataSource"]["S3DataSource"].get("S3DataDistributionType", "FullyReplicated"),
        "RecordWrapperType": channel.get("RecordWrapperType") or "None",
    }


def training_variables(folder: Path, record: Json) -> dict[str, str]:
    """The environment of the training program."""
    parameters = record.get("HyperParameters") or {}
    names = [c["ChannelName"] for c in record.get("InputDataConfig") or []]
    return {
        **(record.get("Environment") or {}),
        "SAGEMAKER_BASE_DIR": str(folder),
        "TRAINING_JOB_NAME": record["TrainingJobName"],
        "TRAINING_JOB_ARN": record["TrainingJobArn"],
        "SM_MODEL_DIR": str(folder / "model"),
        "SM_OUTPUT_DIR": str(folder / "output"),
        "SM_OUTPUT_DATA_DIR": str(folder / "output" / "data"),
        "SM_INPUT_DIR": str(folder / "input"),
        "SM_INPUT_CONFIG_DIR": str(folder / "input" / "config"),
        "SM_CHANNELS": json.dumps(sorted(names)),
        "SM_HPS": json.dumps(parameters),
        "SM_HOSTS": json.dumps([HOST]),
        "SM_CURRENT_HOST": HOST,
        "SM_NUM_CPUS": str(os.cpu_count() or 1),
        "SM_NUM_GPUS": "0",
        **{f"SM_CHANNEL_{name.upper()}": str(folder / "input" / "data" / name) for name in names},
        **{f"SM_HP_{name.upper().replace('-', '_')}": str(value) for name, value in parameters.items()},
    }


def download(store: ObjectStore, channel: Json, target: Path) -> None:
    """Fetch a channel's objects in File mode.

    Raises:
        ContainerError: no object has the prefix, or the local cloud does not support the channel's form.
    """
    source = channel["DataSource"].get("S3DataSource") or {}
    kind, uri = source.get("S3DataType", "S3Prefix"), source.get("S3Uri", "")
    compressed = channel.get("CompressionType", "None") != "None" or channel.get("RecordWrapperType", "None") != "None"
    if kind != "S3Prefix" or channel.get("InputMode") == "Pipe" or compressed:
        raise ContainerError(
            f"channel {channel['ChannelName']}: the local cloud supports only uncompressed S3Prefix data in File mode"
        )
    target.mkdir(parents=True, exist_ok=True)
    found = _prefixed(store, uri)
    if not found:
        raise ContainerError(
            f'Data download failed:No S3 objects found under S3 URL "{uri}" given in input data source. '
            "Please ensure that the bucket exists and that objects exist under that S3 prefix."
        )
    _fetch(store, found, target)


def fetch_checkpoints(store: ObjectStore, record: Json, folder: Path) -> None:
    """Download the objects under the job's checkpoint address, as when a Spot job starts again."""
    if config := record.get("CheckpointConfig"):
        if config.get("LocalPath", CHECKPOINTS) != CHECKPOINTS:
            raise ContainerError(
                f"the local cloud keeps checkpoints in {CHECKPOINTS} only, not in {config['LocalPath']}"
            )
        _fetch(store, _prefixed(store, config["S3Uri"]), folder / "checkpoints")


def upload_checkpoints(store: ObjectStore, record: Json, folder: Path) -> None:
    """Upload the job's checkpoints to their address; SageMaker does so all the time, the local cloud at the end."""
    if config := record.get("CheckpointConfig"):
        for path in sorted((folder / "checkpoints").rglob("*")):
            if path.is_file():
                name = path.relative_to(folder / "checkpoints").as_posix()
                store.put(f"{config['S3Uri'].rstrip('/')}/{name}", path.read_bytes())


def _fetch(store: ObjectStore, addresses: Mapping[str, str], target: Path) -> None:
    for name, address in addresses.items():
        path = (target / name).resolve()
        data = store.get(address)
        if data is None or not path.is_relative_to(target.resolve()):
            raise ContainerError(f"Data download failed: {address} is missing, or its name leaves the channel's folder")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def _prefixed(store: ObjectStore, uri: str) -> dict[str, str]:
    bucket, prefix = split_uri(uri)
    found = {}
    for key in store.keys(uri):
        name = key.removeprefix(prefix).lstrip("/") or key.rsplit("/", 1)[-1]
        if not key.endswith("/"):
            found[name] = f"s3://{bucket}/{key}"
    return found


def pack_folder(folder: Path) -> bytes:
    """The content of *folder* as a tar.gz, as SageMaker uploads it."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz", compresslevel=1) as archive:
        for path in sorted(folder.iterdir()):
            archive.add(path, arcname=path.name)
    return packed.getvalue()


def unpack_model(archive: bytes | None, folder: Path) -> None:
    """Unpack a model.tar.gz; a link becomes a copy of the member to which it leads.

    Raises:
        ContainerError: it does not exist, it is not a tar.gz, or a member would leave *folder*.
    """
    if archive is None:
        raise ContainerError("the model archive is no longer in its bucket")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as opened:
            for member in opened:
                _unpack_member(opened, member, folder)
    except Exception as error:  # noqa: BLE001 - whatever is wrong with an archive, its endpoint is Failed
        raise ContainerError(f"the model archive cannot be unpacked: {error}") from None


def _unpack_member(archive: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    """Write one file or folder. `extractall(filter=)` would do, but the Python 3.11.2 of Debian 12 lacks it."""
    path = PurePosixPath(member.name.lstrip("/"))
    if ".." in path.parts:
        raise ValueError(f"{member.name!r} leads out of it")
    target = folder / path
    if member.isdir():
        target.mkdir(parents=True, exist_ok=True)
        return
    content = archive.extractfile(member)
    if content is None:
        raise ValueError(f"{member.name!r} is neither a file nor a folder")
    target.parent.mkdir(parents=True, exist_ok=True)
    with content, target.open("wb") as file:
        shutil.copyfileobj(content, file)
    target.chmod(0o600 | member.mode & 0o700)
