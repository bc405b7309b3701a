"""Run a course notebook's SageMaker steps against a local cloud, with the SDK 2 or 3, and count connections.

Usage: python benchmarks/sagemaker_sdk.py [--sdk "sagemaker<3"] [--venv FOLDER]

It installs the SDK in a virtual environment of its own (about 1 GB), starts a cloud, and runs the steps there with what
`scones local env` exports. It fails if a step fails, or if a connection goes to any address but 127.0.0.1.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from scones_local import cloud

STAND_INS = Path(__file__).parents[1] / "tests" / "scones_local"
COUNT = """
import atexit, sys
ELSEWHERE = []
def watch(event, arguments):
    if event == "socket.connect" and isinstance(arguments[1], tuple) and arguments[1][0] not in ("127.0.0.1", "::1"):
        ELSEWHERE.append(arguments[1])
    if event == "socket.getaddrinfo" and arguments[0] not in ("127.0.0.1", "localhost", None):
        ELSEWHERE.append(arguments[:2])
sys.addaudithook(watch)
"""
STEPS_2 = """
import sagemaker
from sagemaker.estimator import Estimator
from sagemaker.inputs import TrainingInput
from sagemaker.model_monitor import DataCaptureConfig
from sagemaker.s3 import S3Downloader
from sagemaker.serializers import IdentitySerializer
session = sagemaker.Session()
role, bucket = sagemaker.get_execution_role(), session.default_bucket()
print(role, bucket)
assert role == "arn:aws:iam::123456789012:role/LocalCloud" and bucket.endswith("123456789012")
session.upload_data(__file__, bucket=bucket, key_prefix="train/bicycle")
image = "123456789012.dkr.ecr.us-east-1.amazonaws.com/my-model:1"
estimator = Estimator(image, role, 1, "ml.m5.xlarge", output_path=f"s3://{bucket}/models", sagemaker_session=session,
                      hyperparameters={"answer": "0.5"})
estimator.fit({"training": TrainingInput(f"s3://{bucket}/train/", content_type="application/x-image")}, wait=True)
capture = DataCaptureConfig(True, sampling_percentage=100, destination_s3_uri=f"s3://{bucket}/capture")
predictor = estimator.deploy(1, "ml.m5.xlarge", data_capture_config=capture)
predictor.serializer = IdentitySerializer("image/png")
print(predictor.predict(b"photo", inference_id="7"))
predictor.delete_endpoint()
print(len(S3Downloader.list(f"s3://{bucket}/capture")), "captured")
assert S3Downloader.list(f"s3://{bucket}/capture")
"""
STEPS_3 = """
from sagemaker.core.helper.session_helper import Session, get_execution_role
from sagemaker.core.resources import Endpoint, EndpointConfig, Model, TrainingJob
from sagemaker.core.shapes import (AlgorithmSpecification, Channel, ContainerDefinition, DataSource, OutputDataConfig,
                                   ProductionVariant, ResourceConfig, S3DataSource, StoppingCondition)
session = Session()
role, bucket = get_execution_role(sagemaker_session=session), session.default_bucket()
print(role, bucket)
assert role == "arn:aws:iam::123456789012:role/LocalCloud" and bucket.endswith("123456789012")
session.upload_data(__file__, bucket=bucket, key_prefix="train/bicycle")
image = "123456789012.dkr.ecr.us-east-1.amazonaws.com/my-model:1"
source = S3DataSource(s3_data_type="S3Prefix", s3_uri=f"s3://{bucket}/train/")
job = TrainingJob.create(
    training_job_name="job", role_arn=role, hyper_parameters={"answer": "0.5"},
    algorithm_specification=AlgorithmSpecification(training_image=image, training_input_mode="File"),
    input_data_config=[Channel(channel_name="training", data_source=DataSource(s3_data_source=source))],
    output_data_config=OutputDataConfig(s3_output_path=f"s3://{bucket}/models"),
    resource_config=ResourceConfig(instance_type="ml.m5.xlarge", instance_count=1, volume_size_in_gb=10),
    stopping_condition=StoppingCondition(max_runtime_in_seconds=600))
job.wait()
archive = job.model_artifacts.s3_model_artifacts
Model.create(model_name="model", primary_container=ContainerDefinition(image=image, model_data_url=archive),
             execution_role_arn=role)
variant = ProductionVariant(variant_name="AllTraffic", model_name="model", instance_type="ml.m5.large",
                            initial_instance_count=1)
EndpointConfig.create(endpoint_config_name="config", production_variants=[variant])
endpoint = Endpoint.create(endpoint_name="endpoint", endpoint_config_name="config")
endpoint.wait_for_status("InService")
print(endpoint.invoke(body=b"photo", content_type="image/png").body.read())
endpoint.delete()
"""
END = """
print(len(ELSEWHERE), "connections elsewhere", ELSEWHERE[:3])
sys.exit(bool(ELSEWHERE))
"""


def main() -> None:
    """Install the SDK if it is not there yet, and run the steps."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sdk", default="sagemaker<3", help='a requirement: "sagemaker<3" or "sagemaker>=3"')
    parser.add_argument("--venv", type=Path, help="a folder that holds it, or will")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        place = arguments.venv or Path(scratch) / "venv"
        python = str(place / "bin" / "python")
        if not (place / "bin" / "pip").exists():
            venv.create(place, with_pip=True)
            subprocess.run([python, "-m", "pip", "install", "--quiet", arguments.sdk], check=True)
        steps = Path(scratch) / "steps.py"
        steps.write_text(COUNT + (STEPS_2 if "<3" in arguments.sdk else STEPS_3) + END)
        programs = cloud.Programs(
            image_prefix="my-model",
            train=(sys.executable, str(STAND_INS / "stand_in_train.py")),
            serve=(sys.executable, str(STAND_INS / "stand_in_serve.py")),
        )
        running = cloud.start(Path(scratch) / "cloud", programs=programs, account="123456789012")
        try:
            kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
            done = subprocess.run([python, str(steps)], env={**kept, **cloud.exports(running)}, check=False)
        finally:
            cloud.stop(running)
    sys.exit(done.returncode)


if __name__ == "__main__":
    main()
