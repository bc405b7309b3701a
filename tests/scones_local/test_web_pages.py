"""A web page in a real browser cannot make the local cloud do anything."""

import functools
import http.server
import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlencode

import boto3
import pytest

from access_keys import BOTO_KEYS
from scones_local.cloud import Cloud

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
VIRTUAL_MILLISECONDS = 8000

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed: make browser-tools installs Debian's"),
]


def action(way: str) -> dict[str, str]:
    """An AWS Query request that creates a stack, whose name says which way it came."""
    template = {"Resources": {"T": {"Type": "AWS::SNS::Topic", "Properties": {"TopicName": f"page-{way}"}}}}
    return {"Action": "CreateStack", "StackName": f"page-{way}", "TemplateBody": json.dumps(template)}


def page(cloud: str) -> str:
    """A page that tries every way by which a page can send a request to *cloud*."""
    link = {way: f"{cloud}/?{urlencode(action(way))}" for way in ("img", "iframe", "script", "style", "link", "object")}
    fields = {
        way: "".join(f"<input name='{name}' value='{value}'>" for name, value in action(way).items())
        for way in ("form", "get-form", "text-form", "multipart")
    }
    fetches = {
        way: json.dumps([f"{cloud}/?{urlencode(action(way))}", options])
        for way, options in {
            "fetch": {"mode": "no-cors"},
            "fetch-post": {"mode": "no-cors", "method": "POST"},
            "fetch-cors": {},
            "fetch-no-referrer": {"mode": "no-cors", "referrerPolicy": "no-referrer"},
        }.items()
    }
    body = json.dumps(urlencode(action("fetch-body")))
    return f"""<!doctype html><meta charset=utf-8><title>page</title>
<img src="{link["img"]}"><iframe src="{link["iframe"]}"></iframe><script src="{link["script"]}"></script>
<link rel=stylesheet href="{link["style"]}"><link rel=prefetch href="{link["link"]}">
<object data="{link["object"]}"></object>
<iframe sandbox src="{link["iframe"]}-sandbox"></iframe>
<iframe name=a></iframe><iframe name=b></iframe><iframe name=c></iframe><iframe name=d></iframe>
<form id=form method=post action="{cloud}/" target=a>{fields["form"]}</form>
<form id=get-form method=get action="{cloud}/" target=b>{fields["get-form"]}</form>
<form id=text-form method=post enctype=text/plain action="{cloud}/" target=c>{fields["text-form"]}</form>
<form id=multipart method=post enctype=multipart/form-data action="{cloud}/bucket" target=d>{fields["multipart"]}</form>
<script>
for (const form of document.forms) form.submit();
for (const [url, options] of [{",".join(fetches.values())}]) fetch(url, options).catch(() => 0);
const type = "application/x-www-form-urlencoded";
fetch("{cloud}/", {{mode: "no-cors", method: "POST", body: new Blob([{body}], {{type}})}}).catch(() => 0);
navigator.sendBeacon("{cloud}/", new Blob([{body}], {{type}}));
try {{ new WebSocket("{cloud.replace("http", "ws")}/"); }} catch (error) {{}}
fetch("{cloud}/page-bucket", {{method: "PUT"}}).catch(() => 0);
fetch("/done");
</script>"""


@contextmanager
def site(folder: Path) -> Iterator[tuple[int, list[str]]]:
    """A web site on a port of its own: the port, and the paths that were requested of it."""
    paths: list[str] = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_request(self, *_: object) -> None:
            paths.append(self.path)

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1], paths
    finally:
        server.shutdown()
        server.server_close()


def browse(url: str, profile: Path) -> str:
    """Open *url* in the browser until nothing is loading; returns what it shows."""
    flags = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run")
    command = [str(CHROMIUM), *flags, f"--user-data-dir={profile}", f"--virtual-time-budget={VIRTUAL_MILLISECONDS}"]
    found = subprocess.run([*command, "--dump-dom", url], check=True, capture_output=True, text=True, timeout=120)
    return found.stdout


def made(running: Cloud) -> list[str]:
    """The stacks, topics and buckets that a page has made."""
    where = {"endpoint_url": running.endpoint_url, "region_name": running.region, **BOTO_KEYS}
    stacks = [each["StackName"] for each in boto3.client("cloudformation", **where).describe_stacks()["Stacks"]]
    topics = [each["TopicArn"] for each in boto3.client("sns", **where).list_topics()["Topics"]]
    buckets = [each["Name"] for each in boto3.client("s3", **where).list_buckets()["Buckets"]]
    return [name for name in (*stacks, *topics, *buckets) if "page" in name]


@pytest.mark.parametrize("page_host", ["127.0.0.1", "localhost"])
@pytest.mark.parametrize("cloud_host", ["127.0.0.1", "localhost"])
def test_a_page_of_another_origin_executes_nothing(
    running: Cloud, tmp_path: Path, page_host: str, cloud_host: str
) -> None:
    """Images, frames, forms, scripts, fetch and beacons from another port of either name of this host."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "index.html").write_text(page(f"http://{cloud_host}:{running.port}"))
    with site(tmp_path / "site") as (port, paths):
        browse(f"http://{page_host}:{port}/index.html", tmp_path / "profile")
    assert "/done" in paths
    assert made(running) == []


def test_opening_a_link_executes_nothing(running: Cloud, tmp_path: Path) -> None:
    """Neither a link that a user opens by hand, which no page is said to have sent, nor one that a page follows."""
    link = f"{running.endpoint_url}/?{urlencode(action('link'))}"
    assert "<Code>" in browse(link, tmp_path / "profile").replace("<code>", "<Code>")
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "index.html").write_text(f"<!doctype html><script>location = {json.dumps(link)}</script>")
    with site(tmp_path / "site") as (port, _):
        browse(f"http://127.0.0.1:{port}/index.html", tmp_path / "profile")
    assert made(running) == []


def test_a_page_that_lies_in_a_bucket_executes_nothing(running: Cloud, tmp_path: Path) -> None:
    """Opened by a presigned URL it has the cloud's own origin, and still nothing to sign with."""
    s3 = boto3.client("s3", endpoint_url=running.endpoint_url, region_name=running.region, **BOTO_KEYS)
    s3.create_bucket(Bucket="html")
    hostile = page(running.endpoint_url) + "<p>opened</p>"
    s3.put_object(Bucket="html", Key="index.html", Body=hostile.encode(), ContentType="text/html")
    url = s3.generate_presigned_url("get_object", {"Bucket": "html", "Key": "index.html"})
    assert "<p>opened</p>" in browse(url, tmp_path / "profile")
    assert made(running) == []
