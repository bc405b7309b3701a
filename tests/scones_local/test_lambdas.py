"""Lambda in the local cloud: warm processes, true errors, and nothing but what Lambda's own Python offers."""

import base64
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.exceptions import ClientError


def test_an_environment_stays_warm(function: Any, clients: Any) -> None:
    """The second call meets the first one's process, its globals, the deadline and the cloud's address."""
    first, error = function()
    second, _ = function()
    assert error is None
    assert (second["pid"], second["calls"]) == (first["pid"], 2)
    assert 0 < second["left"] <= 30_000
    assert second["arn"] == function.arn
    assert second["url"] == clients.cloud.endpoint_url


def test_an_exception_keeps_its_class(function: Any) -> None:
    """FunctionError is set, and errorType is the name of the exception's class."""
    body, error = function(dark=True)
    assert error == "Unhandled"
    assert (body["errorType"], body["errorMessage"]) == ("TooDark", "no light")
    assert body["stackTrace"]


def test_a_call_beyond_its_time_is_ended(function: Any) -> None:
    """A handler that sleeps through its limit is stopped there, and the next call gets a fresh process."""
    function.client.update_function_configuration(FunctionName=function.name, Timeout=1)
    body, error = function(sleep=60)
    assert error == "Unhandled"
    assert body["errorType"] == "Sandbox.Timedout"
    assert "Task timed out after 1.00 seconds" in body["errorMessage"]
    function.client.update_function_configuration(FunctionName=function.name, Timeout=30)
    assert function()[0]["calls"] == 1


@pytest.mark.parametrize(("code", "words"), [(7, "exit status 7"), (0, "without providing a reason")])
def test_a_crash_is_reported(function: Any, code: int, words: str) -> None:
    """A process that ends during a call is a Runtime.ExitError, and the next call is served."""
    body, error = function(exit=code)
    assert (error, body["errorType"]) == ("Unhandled", "Runtime.ExitError")
    assert words in body["errorMessage"]
    assert function()[1] is None


def test_broken_code_is_reported(function: Any) -> None:
    """A module that cannot be imported gives the import error, not a time-out."""
    function.client.update_function_code(FunctionName=function.name, ZipFile=function.archive("import gone\n"))
    body, error = function()
    assert error == "Unhandled"
    assert body["errorType"] == "Runtime.ImportModuleError"


def test_changes_start_fresh_environments(function: Any) -> None:
    """New variables and new code are in force at the next call."""
    old, _ = function()
    function.client.update_function_configuration(
        FunctionName=function.name, Environment={"Variables": {"COLOUR": "red"}}
    )
    changed, _ = function()
    assert (changed["colour"], changed["calls"]) == ("red", 1)
    assert changed["pid"] != old["pid"]
    function.client.update_function_code(
        FunctionName=function.name, ZipFile=function.archive("def handler(e, c): return 'new'\n")
    )
    assert function()[0] == "new"


def test_calls_at_once_get_environments_of_their_own(function: Any, gate: Any) -> None:
    """Two calls that wait for each other run in two processes."""
    with ThreadPoolExecutor(2) as pool:
        replies = [pool.submit(function, gate=gate.port) for _ in range(2)]
        gate.await_calls(2)
        gate.open()
    assert len({reply.result()[0]["pid"] for reply in replies}) == 2


def test_only_lambdas_own_packages_are_there(function: Any) -> None:
    """boto3 can be imported; what happens to be installed on this machine cannot."""
    assert function(**{"import": "boto3"})[1] is None
    body, _ = function(**{"import": "scones"})
    assert body["errorType"] == "ModuleNotFoundError"
    assert function(**{"import": "numpy"})[0]["errorType"] == "ModuleNotFoundError"


def test_the_users_own_variables_are_not_there(function: Any) -> None:
    """Of this machine's environment a function sees the paths alone."""
    names, _ = function(environment=True)
    assert "HOME" not in names
    assert {name for name in names if not name.startswith(("AWS_", "LAMBDA_", "_"))} <= {
        *("LANG", "TZ", "PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "TMPDIR", "NO_PROXY", "LC_CTYPE"),
    }


def test_what_is_printed_reaches_the_logs(function: Any, clients: Any) -> None:
    """The tail comes with the reply when it is asked for, and CloudWatch Logs has the line."""
    reply = function.client.invoke(FunctionName=function.name, Payload=b'{"say": "hello"}', LogType="Tail")
    assert "told hello" in base64.b64decode(reply["LogResult"]).decode()
    events = clients.logs.filter_log_events(logGroupName=f"/aws/lambda/{function.name}")["events"]
    assert any("told hello" in event["message"] for event in events)


def test_many_calls_share_a_log_stream(clients: Any, function: Any) -> None:
    """Memory does not grow by a stream a call."""
    for _ in range(3):
        function(say="hello")
    streams = clients.logs.describe_log_streams(logGroupName=f"/aws/lambda/{function.name}")["logStreams"]
    assert len(streams) == 1
    events = clients.logs.filter_log_events(logGroupName=f"/aws/lambda/{function.name}")["events"]
    assert sum("told hello" in event["message"] for event in events) == 3


def test_variables_have_lambda_s_limit(function: Any) -> None:
    """4 KB together, as JSON, for a new function and for a changed one."""
    change = function.client.update_function_configuration
    change(FunctionName=function.name, Environment={"Variables": {"LONG": "n" * 4000}})
    with pytest.raises(ClientError, match=r"InvalidParameterValueException.*exceeded the 4KB limit"):
        change(FunctionName=function.name, Environment={"Variables": {"LONG": "n" * 4096}})
    known = function.client.get_function(FunctionName=function.name)["Configuration"]
    code = {"ZipFile": function.archive("def handler(e, c): return 0\n")}
    with pytest.raises(ClientError, match=r"InvalidParameterValueException.*exceeded the 4KB limit"):
        function.client.create_function(
            FunctionName=f"{function.name}-2",
            Runtime=known["Runtime"],
            Role=known["Role"],
            Handler="answer.handler",
            Code=code,
            Environment={"Variables": {"LONG": "n" * 4096}},
        )
