"""The running server keeps SageMaker's contract, and refuses requests that are wrong in themselves."""

import base64
import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from serving.running import Server, Start, photo

DARK, BRIGHT = photo(value=10), photo(value=250)


def test_ping_is_answered(server: Server) -> None:
    """A loaded and warm model answers 200."""
    assert server.ask("GET", "/ping").status == 200


@pytest.mark.parametrize(
    "kind",
    ["application/x-image", "image/png", "image/jpeg", "image/webp", "application/octet-stream", "IMAGE/PNG; a=b"],
)
def test_a_raw_photo_gets_a_list_of_probabilities(server: Server, kind: str) -> None:
    """As SageMaker's built-in classifier answers: a JSON list in the order of the classes."""
    answer = server.invoke(BRIGHT, kind)
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/json"
    bicycle, motorcycle = answer.json()
    assert motorcycle > 0.9
    assert bicycle + motorcycle == pytest.approx(1)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
def test_every_format_is_decoded(server: Server, form: str) -> None:
    """The photo's own bytes say what it is; the answers agree."""
    assert server.invoke(photo(form, size=(640, 480), value=10)).json()[0] > 0.9


def test_json_takes_one_photo_or_many(server: Server) -> None:
    """One photo gets one list, many get a list of lists in their order."""
    dark, bright = base64.b64encode(DARK).decode(), base64.b64encode(BRIGHT).decode()
    one = server.invoke(json.dumps({"photo": dark}).encode(), "application/json").json()
    many = server.invoke(json.dumps({"photos": [dark, bright]}).encode(), "application/json; charset=utf-8").json()
    assert many[0] == one
    assert many[0][0] > 0.9
    assert many[1][1] > 0.9
    assert server.invoke(json.dumps([bright]).encode(), "application/json").json() == [many[1]]


def test_json_lines_hold_a_prediction_each(server: Server) -> None:
    """The built-in classifier's batch format, one line a photo."""
    photos = json.dumps({"photos": [base64.b64encode(DARK).decode()] * 2}).encode()
    answer = server.invoke(photos, "application/json", Accept="application/jsonlines")
    lines = [json.loads(line) for line in answer.body.splitlines()]
    assert answer.headers["Content-Type"] == "application/jsonlines"
    assert [list(line) for line in lines] == [["prediction"], ["prediction"]]


def test_a_client_that_asks_why_gets_an_explanation(server: Server) -> None:
    """Of one photo or of many; a model without maps says which class comes second, and by how much."""
    accept = "application/json;verbose=true;explain=true"
    one = server.invoke(BRIGHT, Accept=accept).json()
    assert one["label"] == one["explanation"]["label"] == "motorcycle"
    assert one["explanation"]["runner_up"] == "bicycle"
    assert one["explanation"]["log_odds"] == pytest.approx((250 - 128) / 16, rel=1e-3)
    assert one["explanation"]["evidence"] is None
    photos = json.dumps({"photos": [base64.b64encode(each).decode() for each in (DARK, BRIGHT)]}).encode()
    dark, bright = server.invoke(photos, "application/json", Accept=accept).json()
    assert dark["explanation"]["label"] == "bicycle"
    assert bright == one
    assert server.invoke(BRIGHT, Accept="application/json;verbose=true;explain=false").json().keys() == one.keys() - {
        "explanation"
    }


def test_verbose_answers_name_the_label(server: Server) -> None:
    """Label, confidence, probabilities, classes and the model's version."""
    found = server.invoke(BRIGHT, Accept="application/json;verbose=true").json()
    assert (found["label"], found["classes"]) == ("motorcycle", ["bicycle", "motorcycle"])
    assert found["confidence"] == max(found["probabilities"])
    assert len(found["model_version"]) == 12


def test_custom_attributes_are_echoed(server: Server) -> None:
    """SageMaker hands them on only if the container returns them."""
    answer = server.invoke(DARK, X_Amzn_SageMaker_Custom_Attributes="order=17")
    assert answer.headers["X-Amzn-Sagemaker-Custom-Attributes"] == "order=17"
    assert server.invoke(DARK, X_Amzn_SageMaker_Custom_Attributes="x" * 1025).status == 400


def test_metrics_count_the_answers(start: Start) -> None:
    """Prometheus sees photos and answers by status."""
    server = start()
    server.invoke(DARK)
    server.invoke(b"no photo")
    text = server.ask("GET", "/metrics").body.decode()
    assert 'scones_photos_total{worker="0"} 1\n' in text
    assert 'scones_answers_total{worker="0",status="200"} 1\n' in text
    assert 'scones_answers_total{worker="0",status="400"} 1\n' in text


@pytest.mark.parametrize(
    ("method", "path", "kind", "status"),
    [
        ("GET", "/", "", 404),
        ("POST", "/invocations/more", "image/png", 404),
        ("GET", "/invocations", "", 405),
        ("POST", "/ping", "", 405),
        ("DELETE", "/invocations", "", 405),
        ("POST", "/invocations", "text/csv", 415),
        ("POST", "/invocations", "image/tiff", 415),
        ("POST", "/invocations", "multipart/form-data; boundary=x", 415),
    ],
)
def test_wrong_requests_have_their_status(server: Server, method: str, path: str, kind: str, status: int) -> None:
    """Path, method and content type are judged before the body, and the refusal says why in JSON."""
    answer = server.ask(method, path, DARK if method == "POST" else None, Content_Type=kind)
    assert answer.status == status
    assert set(answer.json()) == {"error", "reason"}


def test_the_whole_url_may_be_the_target(server: Server) -> None:
    """Proxies send it so, and queries are ignored."""
    assert server.ask("GET", f"http://127.0.0.1:{server.port}/ping?deep=1").status == 200


def test_clients_at_once_all_get_their_own_answer(start: Start) -> None:
    """Photos batched together do not mix: dark ones are bicycles, bright ones motorcycles."""
    server = start(SCONES_SERVE_WORKERS="2")

    def ask(index: int) -> bool:
        probabilities = server.invoke(DARK if index % 2 else BRIGHT).json()
        return bool(probabilities[index % 2 == 0] > 0.9)

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(ask, range(400)))
