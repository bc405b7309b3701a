"""An endpoint for a test's own use."""

import json
from typing import Any

from local.sagemaker_calls import a_bucket, a_config, fresh, settled, trained


class Endpoint:
    """An endpoint in service, its bucket and its clients."""

    def __init__(self, clients: Any) -> None:
        self.clients = clients
        self.sagemaker, self.s3, self.runtime = clients.sagemaker, clients.s3, clients.sagemaker_runtime
        self.bucket = a_bucket(self.s3)
        self.archive = trained(self.sagemaker, self.bucket)
        self.config = a_config(self.sagemaker, self.bucket, self.archive)
        self.name = fresh("endpoint")
        self.arn = self.sagemaker.create_endpoint(EndpointName=self.name, EndpointConfigName=self.config)["EndpointArn"]
        assert settled(self.sagemaker, self.name)["EndpointStatus"] == "InService"

    def ask(self, body: bytes = b"photo", **members: Any) -> Any:
        """What the endpoint answers."""
        reply = self.runtime.invoke_endpoint(
            EndpointName=self.name, Body=body, **{"ContentType": "image/png", **members}
        )
        return json.loads(reply["Body"].read())
