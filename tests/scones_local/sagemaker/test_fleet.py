"""Fleets under load: shared, surviving, updated in steps, and rolled back."""

import json
import os
import signal
import time
from typing import Any

import pytest
from botocore.exceptions import ClientError

from aws_calls import Endpoint, a_config, an_alarm, settled, shifting, trained
from load import Load, asker
from waiting import eventually

STATUSES = ("Creating", "Baking")


def load(clients: Any, endpoint: Endpoint, body: bytes = b"photo", threads: int = 4) -> Load:
    """Load on an endpoint; a single thread has one request under way at most."""
    return Load(asker(clients.cloud.endpoint_url, endpoint.name, body), 40, threads)


def update(endpoint: Endpoint, config: str, **members: Any) -> dict[str, Any]:
    """Update the endpoint; returns its description once that is over."""
    endpoint.sagemaker.update_endpoint(EndpointName=endpoint.name, EndpointConfigName=config, **members)
    return settled(endpoint.sagemaker, endpoint.name)


def test_instances_share_the_load_and_survive_a_kill(endpoint: Endpoint, clients: Any) -> None:
    """Three instances answer equally often; one is killed, at most the request that it held fails, and it returns."""
    config = a_config(endpoint.sagemaker, endpoint.bucket, endpoint.archive, instances=3)
    (variant,) = update(endpoint, config)["ProductionVariants"]
    assert variant["CurrentInstanceCount"] == 3
    pids = [endpoint.ask(b"pid") for _ in range(30)]
    assert {pids.count(pid) for pid in pids} == {10}
    before = {json.dumps(pid).encode() for pid in pids}
    with load(clients, endpoint, b"pid", threads=1) as asked:
        assert eventually(lambda: bool(asked.answers))
        os.kill(pids[0], signal.SIGKILL)
        assert eventually(lambda: not before.issuperset(asked.answers))
    assert len(asked.failures) <= 1
    assert len({*asked.answers} - before) == 1


@pytest.mark.slow
def test_linear_shifting_moves_the_traffic_in_steps(endpoint: Endpoint) -> None:
    """With steps of a quarter, the new model answers one, two, three and then four of four requests in a row."""
    fresh = trained(endpoint.sagemaker, endpoint.bucket, answer="0.1")
    config = a_config(endpoint.sagemaker, endpoint.bucket, fresh)
    wanted = shifting("LINEAR", 25, 2, an_alarm(endpoint.clients.cloudwatch, endpoint.name))
    endpoint.sagemaker.update_endpoint(EndpointName=endpoint.name, EndpointConfigName=config, DeploymentConfig=wanted)
    shares = []
    while (found := endpoint.sagemaker.describe_endpoint(EndpointName=endpoint.name))["EndpointStatus"] == "Updating":
        assert found["EndpointConfigName"] == endpoint.config
        assert found["PendingDeploymentSummary"]["EndpointConfigName"] == config
        assert found["PendingDeploymentSummary"]["ProductionVariants"][0]["VariantStatus"][0]["Status"] in STATUSES
        shares.append(sum(endpoint.ask()[0] == 0.1 for _ in range(4)))
    begins = [shares.index(share) for share in (1, 2, 3)]
    assert begins == sorted(begins)
    assert (found["EndpointConfigName"], found["LastDeploymentConfig"]) == (config, wanted)
    assert {endpoint.ask()[0] for _ in range(5)} == {0.1}


def test_a_good_canary_completes_without_a_failed_request(endpoint: Endpoint, clients: Any) -> None:
    """Under load every request of the whole update is answered, by one model or the other."""
    fresh = trained(endpoint.sagemaker, endpoint.bucket, answer="0.1")
    config = a_config(endpoint.sagemaker, endpoint.bucket, fresh, instances=2)
    alarm = an_alarm(clients.cloudwatch, endpoint.name)
    with load(clients, endpoint) as asked:
        found = update(endpoint, config, DeploymentConfig=shifting("CANARY", 10, 2, alarm))
        assert eventually(lambda: {json.loads(answer)[0] for answer in asked.answers} == {0.75, 0.1})
    assert (found["EndpointStatus"], found["EndpointConfigName"]) == ("InService", config)
    assert asked.failures == []


def test_a_broken_canary_is_rolled_back(endpoint: Endpoint, clients: Any) -> None:
    """The alarm brings all traffic back to the old model; the canary's share until then is all that failed."""
    config = a_config(endpoint.sagemaker, endpoint.bucket, endpoint.archive, FAULT="1")
    alarm = an_alarm(clients.cloudwatch, endpoint.name)
    with load(clients, endpoint) as asked:
        found = update(endpoint, config, DeploymentConfig=shifting("CANARY", 10, 600, alarm))
        assert asked.more(10)  # those that were under way have ended
        failed, answered = len(asked.failures), len(asked.answers)
        assert asked.more(40)
    assert (found["EndpointStatus"], found["EndpointConfigName"]) == ("InService", endpoint.config)
    assert alarm in found["FailureReason"]
    assert 1 <= failed <= 1 + (failed + answered) / 10
    assert len(asked.failures) == failed


def test_an_alarm_that_fires_already_stops_an_update_before_it_begins(endpoint: Endpoint, clients: Any) -> None:
    """An endpoint in trouble is not updated: the new model gets no request."""
    fresh = trained(endpoint.sagemaker, endpoint.bucket, answer="0.1")
    config = a_config(endpoint.sagemaker, endpoint.bucket, fresh)
    alarm = an_alarm(clients.cloudwatch, endpoint.name)
    with pytest.raises(endpoint.runtime.exceptions.ModelError):
        endpoint.ask(b"fault")
    while clients.cloudwatch.describe_alarms(AlarmNames=[alarm])["MetricAlarms"][0]["StateValue"] != "ALARM":
        time.sleep(0.1)
    with load(clients, endpoint) as asked:
        found = update(endpoint, config, DeploymentConfig=shifting("CANARY", 50, 1, alarm))
    assert found["EndpointConfigName"] == endpoint.config
    assert {json.loads(answer)[0] for answer in asked.answers} == {0.75}


def test_an_alarm_that_is_not_there_is_refused(endpoint: Endpoint) -> None:
    """A misspelt alarm would never fire, so the update does not start."""
    with pytest.raises(ClientError, match="no-such-alarm"):
        update(endpoint, endpoint.config, DeploymentConfig=shifting("CANARY", 10, 1, "no-such-alarm"))


def test_an_endpoint_is_deleted_after_its_update_and_leaves_no_server(clients: Any) -> None:
    """During the update it is refused, as on AWS; afterwards neither fleet is left behind."""
    endpoint = Endpoint(clients)
    pids = {endpoint.ask(b"pid")}
    wanted = shifting("CANARY", 50, 3, an_alarm(clients.cloudwatch, endpoint.name))
    config = a_config(endpoint.sagemaker, endpoint.bucket, endpoint.archive, instances=2)
    endpoint.sagemaker.update_endpoint(EndpointName=endpoint.name, EndpointConfigName=config, DeploymentConfig=wanted)
    with pytest.raises(ClientError, match="Cannot update in-progress endpoint"):
        endpoint.sagemaker.delete_endpoint(EndpointName=endpoint.name)
    while len(pids) < 3:
        pids.add(endpoint.ask(b"pid"))
    describe = endpoint.sagemaker.describe_endpoint
    assert eventually(lambda: describe(EndpointName=endpoint.name)["EndpointStatus"] == "InService")
    endpoint.sagemaker.delete_endpoint(EndpointName=endpoint.name)
    assert eventually(lambda: not any(_lives(each) for each in pids))


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
