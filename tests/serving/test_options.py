"""The environment sets the server's options, and every limit has its variable."""

from dataclasses import fields
from pathlib import Path

import pytest

from scones.serving.options import BadOption, Limits, read_options


def test_the_defaults_are_sagemakers() -> None:
    """Port 8080 on all addresses, the model below /opt/ml, a worker a core."""
    options = read_options({})
    assert (options.host, options.port, options.model) == ("0.0.0.0", 8080, Path("/opt/ml/model"))  # noqa: S104
    assert options.workers >= 1
    assert options.limits == Limits()


def test_sagemakers_variables_are_read() -> None:
    """Port, base folder and the number of workers; our own name for the last wins."""
    environment = {
        "SAGEMAKER_BIND_TO_PORT": "9000",
        "SAGEMAKER_BASE_DIR": "/job",
        "SAGEMAKER_MODEL_SERVER_WORKERS": "3",
    }
    options = read_options(environment)
    assert (options.port, options.model, options.workers) == (9000, Path("/job/model"), 3)
    assert read_options(environment | {"SCONES_SERVE_WORKERS": "4"}).workers == 4


def test_every_limit_has_its_variable() -> None:
    """SCONES_SERVE_ and the limit's name set it, as the type it has."""
    for field in fields(Limits):
        limits = read_options({f"SCONES_SERVE_{field.name.upper()}": "7"}).limits
        assert getattr(limits, field.name) == 7
        assert type(getattr(limits, field.name)) is type(field.default)


@pytest.mark.parametrize("value", ["", "0", "-1", "1.5", "many", "nan", "inf"])
def test_what_cannot_be_a_limit_is_refused(value: str) -> None:
    """The error names the variable and its value."""
    with pytest.raises(BadOption, match="SCONES_SERVE_QUEUE") as refused:
        read_options({"SCONES_SERVE_QUEUE": value})
    assert refused.value.value == value


def test_every_limit_is_documented() -> None:
    """docs/serving.md names each variable with its default."""
    text = (Path(__file__).parents[2] / "docs" / "serving.md").read_text()
    for field in fields(Limits):
        default = str(field.default).removesuffix(".0")
        assert f"| `SCONES_SERVE_{field.name.upper()}` | {default} |" in text
