"""The gateway: what is not an AWS client gets nowhere."""

import http.client

import pytest

from scones_local.cloud import Cloud


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Origin": "https://example.org"}, 403),
        ({"Origin": "null"}, 403),
        ({"Host": "rebound.example.org:80"}, 403),
        ({"Host": "localhost:4566"}, 200),
    ],
)
def test_a_web_page_is_refused(running: Cloud, headers: dict[str, str], status: int) -> None:
    """A request that a browser made for some page, or that came by another name, is answered 403."""
    connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=30)
    connection.request("GET", "/_ministack/health", headers=headers)
    assert connection.getresponse().status == status
    connection.close()
