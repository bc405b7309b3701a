"""Measure the local cloud: start-up, memory, and a chain of three Lambda functions in an Express workflow.

Usage: python benchmarks/local_cloud.py [--executions 400] [--clients 8]
"""

import argparse
import io
import json
import os
import statistics
import tempfile
import time
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
import psutil

from scones_local import cloud

HANDLER = "def handler(event, context):\n    return {**event, 'n': event.get('n', 0) + 1}\n"
Execute = Callable[..., dict[str, Any]]
ROLE = "arn:aws:iam::000000000000:role/benchmark"


def chain(session: boto3.Session) -> str:
    """Create three functions and the state machine that calls them in turn; returns its ARN."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("one.py", HANDLER)
    states: dict[str, Any] = {}
    for name, following in (("First", "Second"), ("Second", "Third"), ("Third", None)):
        function = session.client("lambda").create_function(
            FunctionName=name,
            Runtime="python3.11",
            Role=ROLE,
            Handler="one.handler",
            Code={"ZipFile": archive.getvalue()},
        )
        states[name] = {
            "Type": "Task",
            "Resource": "arn:aws:states:::lambda:invoke",
            "Parameters": {"FunctionName": function["FunctionArn"], "Payload.$": "$"},
            "OutputPath": "$.Payload",
            **({"Next": following} if following else {"End": True}),
        }
    definition = json.dumps({"StartAt": "First", "States": states})
    machine = session.client("stepfunctions").create_state_machine(
        name="chain", definition=definition, roleArn=ROLE, type="EXPRESS"
    )
    return str(machine["stateMachineArn"])


def timed(execute: Execute, arn: str) -> float:
    """Run the chain once; returns milliseconds."""
    began = time.perf_counter()
    reply = execute(stateMachineArn=arn, input='{"n": 0}')
    assert json.loads(reply["output"]) == {"n": 3}, reply
    return (time.perf_counter() - began) * 1000


def cpu_seconds(pids: list[int]) -> float:
    """User and system time of *pids* and of their living descendants."""
    total = 0.0
    for pid in pids:
        for process in (psutil.Process(pid), *psutil.Process(pid).children(recursive=True)):
            times = process.cpu_times()
            total += times.user + times.system
    return total


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--executions", type=int, default=400)
    parser.add_argument("--clients", type=int, default=8)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        running = cloud.start(Path(folder) / "cloud")
        started = time.perf_counter() - began
        try:
            os.environ.update(cloud.exports(running))
            measure(running, started, arguments.executions, arguments.clients)
        finally:
            cloud.stop(running)


def measure(running: cloud.Cloud, started: float, executions: int, clients: int) -> None:
    """Time the chain, one client and then several, and print one line for each figure."""
    session = boto3.Session()
    arn = chain(session)
    lanes = [session.client("stepfunctions").start_sync_execution for _ in range(clients)]
    timed(lanes[0], arn)
    gateway = psutil.Process(running.pid).children()[0]
    print(f"ready after                  {started:8.2f} s")
    print(f"gateway's memory             {gateway.memory_info().rss / 2**20:8.0f} MB")
    alone = [timed(lanes[0], arn) for _ in range(executions // 4)]
    print(f"one client, median           {statistics.median(alone):8.1f} ms")
    print(f"one client, 95th percentile  {statistics.quantiles(alone, n=20)[-1]:8.1f} ms")
    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(lambda lane: [timed(lane, arn) for _ in range(3)], lanes))
        cpu, began = cpu_seconds([os.getpid()]), time.perf_counter()
        share = executions // clients
        together = [t for lane in pool.map(lambda lane: [timed(lane, arn) for _ in range(share)], lanes) for t in lane]
        wall = time.perf_counter() - began
    cpu = cpu_seconds([os.getpid()]) - cpu
    own = sum(psutil.Process(p).cpu_times().user for p in (gateway.pid,))
    print(f"{clients} clients, executions/s     {len(together) / wall:8.0f}")
    print(f"{clients} clients, median           {statistics.median(together):8.1f} ms")
    print(f"{clients} clients, CPU an execution {cpu / len(together) * 1000:8.1f} ms (client included)")
    print(f"gateway's CPU in all         {own:8.1f} s, memory {gateway.memory_info().rss / 2**20:.0f} MB")


if __name__ == "__main__":
    main()
