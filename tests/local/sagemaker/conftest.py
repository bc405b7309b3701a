"""Endpoints for tests."""

from collections.abc import Iterator
from typing import Any

import pytest

from local.sagemaker.endpoint import Endpoint


@pytest.fixture
def endpoint(clients: Any) -> Iterator[Endpoint]:
    """An endpoint of the test's own."""
    made = Endpoint(clients)
    yield made
    made.sagemaker.delete_endpoint(EndpointName=made.name)
