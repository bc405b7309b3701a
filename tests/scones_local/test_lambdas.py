"""Lambda in the local cloud: warm processes, true errors, and nothing but what Lambda's own Python offers."""

import base64
import io
import json
import sys
import uuid
import zipfile
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.exceptions import ClientError

from aws_calls import ROLE
from waiting import eventually


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


def test_the_tail_of_the_log_comes_also_without_a_print(function: Any) -> None:
    """LogResult has the lines that Lambda adds, and ExecutedVersion is given."""
    function.client.update_function_code(
        FunctionName=function.name, ZipFile=function.archive("def handler(e, c): return 1\n")
    )
    reply = function.client.invoke(FunctionName=function.name, Payload=b"{}", LogType="Tail")
    first, last, report = base64.b64decode(reply["LogResult"]).decode().splitlines()
    number = first.split()[2]
    assert first == f"START RequestId: {number} Version: $LATEST"
    assert last == f"END RequestId: {number}"
    assert report.startswith(f"REPORT RequestId: {number}\tDuration: ")
    assert reply["ExecutedVersion"] == "$LATEST"
    assert "LogResult" not in function.client.invoke(FunctionName=function.name, Payload=b"{}")


WRONG: dict[str, list[dict[str, Any]]] = {
    "runtime": [{"Runtime": "nodejs20.x"}, {"Runtime": "perl5"}, {"Runtime": "python2.7"}, {"Runtime": "python3.99"}],
    "image": [{"Code": {"ImageUri": f"{host}/other:1"}, "PackageType": "Image"} for host in ("docker.io", "1.ecr")],
    "storage": [{"EphemeralStorage": {"Size": 10_241}}],
    "layer": [{"Layers": [f"arn:aws:lambda:us-east-1:{number}:layer:sdk:1"]} for number in ("0" * 12, "770693421928")],
}
CASES = [(kind, members) for kind, cases in WRONG.items() for members in cases]


@pytest.mark.parametrize(("kind", "members"), CASES)
def test_a_function_that_cannot_run_is_refused_when_it_is_created(
    clients: Any, function: Any, kind: str, members: dict[str, Any]
) -> None:
    """By CreateFunction, by a change, and by CloudFormation; the message names what cannot run."""
    request: dict[str, Any] = {"FunctionName": f"f-{uuid.uuid4().hex[:8]}", "Role": ROLE, "Handler": "answer.handler"}
    request |= {"Runtime": "python3.11", "Code": {"ZipFile": function.archive("")}, **members}
    named = str(next(iter(members.values()))).strip("[]'{}").rpartition(" ")[2].strip("'")
    if kind == "image":
        del request["Runtime"], request["Handler"]
    with pytest.raises(ClientError, match=r"InvalidParameterValueException") as refused:
        function.client.create_function(**request)
    assert named in str(refused.value)
    change = function.client.update_function_configuration
    if kind == "image":
        change, members = function.client.update_function_code, {"ImageUri": named}
    with pytest.raises(ClientError, match=r"InvalidParameterValueException"):
        change(FunctionName=function.name, **members)
    code = request["Code"] if kind == "image" else {"ZipFile": "def handler(e, c): return 1"}
    template = {"Resources": {"F": {"Type": "AWS::Lambda::Function", "Properties": {**request, "Code": code}}}}
    stack = f"s-{uuid.uuid4().hex[:8]}"
    clients.cloudformation.create_stack(StackName=stack, TemplateBody=json.dumps(template))
    find = clients.cloudformation.describe_stacks
    assert eventually(lambda: find(StackName=stack)["Stacks"][0]["StackStatus"] == "ROLLBACK_COMPLETE")
    events = clients.cloudformation.describe_stack_events(StackName=stack)["StackEvents"]
    assert any(named in event.get("ResourceStatusReason", "") for event in events)


@pytest.mark.parametrize("runtime", ["python3.8", "python3.9", "python3.12", "python3.14"])
def test_each_python_of_lambda_is_accepted(function: Any, runtime: str) -> None:
    """All of them are the Python of the cloud."""
    function.client.update_function_configuration(FunctionName=function.name, Runtime=runtime)
    assert function()[1] is None


def layer(client: Any, **files: str) -> str:
    """Publish a layer with *files*, their names with `__` for `/`; returns its ARN."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as opened:
        for name, text in files.items():
            opened.writestr(f"{name.replace('__', '/')}.py", text)
    name = f"l-{uuid.uuid4().hex[:8]}"
    reply = client.publish_layer_version(LayerName=name, Content={"ZipFile": packed.getvalue()})
    return str(reply["LayerVersionArn"])


def test_layers_are_on_the_path_in_their_order(function: Any) -> None:
    """python/ and python/lib/python3.x/site-packages; a later layer's file wins, and the function's own before all."""
    site = f"python__lib__python3.{sys.version_info.minor}__site-packages"
    first = layer(
        function.client, python__one="name = 'one'", python__two="name = 'one'", python__boto3="name = 'layer'"
    )
    second = layer(
        function.client, python__two="name = 'two'", **{f"{site}__deep": "name = 'deep'"}, python__own="x = 1"
    )
    source = (
        "import boto3, deep, one, own, two\ndef handler(e, c): return [m.name for m in (boto3, deep, one, own, two)]\n"
    )
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as opened:
        opened.writestr("answer.py", source)
        opened.writestr("own.py", "name = 'function'")
    function.client.update_function_code(FunctionName=function.name, ZipFile=packed.getvalue())
    function.client.update_function_configuration(FunctionName=function.name, Layers=[first, second])
    assert function() == (["layer", "deep", "one", "function", "two"], None)
    function.client.update_function_configuration(FunctionName=function.name, Layers=[])
    assert function()[0]["errorType"] == "Runtime.ImportModuleError"


def test_a_function_reads_its_layers_files_at_opt(function: Any) -> None:
    """Also those outside of python/, and those of a layer that was deleted since."""
    arn = layer(function.client, data__words="words")
    source = "def handler(e, c): return open('/opt/data/words.py').read()\n"
    function.client.update_function_code(FunctionName=function.name, ZipFile=function.archive(source))
    function.client.update_function_configuration(FunctionName=function.name, Layers=[arn])
    _, _, _, _, _, _, name, version = arn.split(":")
    function.client.delete_layer_version(LayerName=name, VersionNumber=int(version))
    assert function() == ("words", None)


@pytest.mark.parametrize(("kind", "limit"), [("RequestResponse", 6_291_456), ("Event", 1_048_576)])
def test_a_payload_has_lambda_s_limit(function: Any, kind: str, limit: int) -> None:
    """6 MB for an answer that is waited for, 1 MB for a call that is queued."""
    invoke = function.client.invoke
    for size in (limit + 1, limit):
        payload = json.dumps({"long": "n" * (size - len(json.dumps({"long": ""})))})
        assert len(payload) == size
        if size > limit:
            with pytest.raises(ClientError, match=rf"RequestEntityTooLarge.*too large for the {kind} invocation type"):
                invoke(FunctionName=function.name, InvocationType=kind, Payload=payload)
        else:
            assert invoke(FunctionName=function.name, InvocationType=kind, Payload=payload)["StatusCode"] < 300
