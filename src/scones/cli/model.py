"""Commands that build and deploy a model: stage, image, train, register, approve, up, deploy, rollback and evaluate."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, Unpack

import click

from scones.cli.group import WrittenPath, open_option, options, run, tell_result, yes_option
from scones.cli.models import MODEL, files_of
from scones.config.settings import MODES
from scones.domain.errors import SconesError
from scones.steps import STEPS

if TYPE_CHECKING:
    from scones.environment import ModelReference
    from scones.evaluation.evaluation import Evaluation
    from scones.pipeline import Pipeline
    from scones.steps.deploy import DeployResult
    from scones.steps.evaluate import EvaluationOptions
    from scones.steps.up import StackOutputs


_WHICH = " MODEL is its number in the registry, its file, or s3://... [default: the model trained last]"


class _EvaluateOptions(TypedDict):
    """The options of `evaluate`, apart from what it evaluates."""

    report: Path
    robustness: bool
    load: bool
    against: "ModelReference | None"
    gate: bool
    unfamiliar: str | None


class _StageOptions(TypedDict):
    """The options of `stage`, apart from the source."""

    report: Path
    with_labels: bool


_SOURCE = """SOURCE is `auto`, `cifar100`, `sample`, or a folder or s3://bucket/prefix with one subfolder of photos
per class, optionally below train/ and test/."""


@click.command(help=STEPS["stage"] + " " + _SOURCE)
@click.argument("source", required=False)
@click.option(
    "--report",
    type=WrittenPath(".json"),
    default=Path("reports/data.html"),
    show_default=True,
    help="Path of the report; its figures are written beside it as JSON.",
)
@open_option
@click.option(
    "--with-labels", is_flag=True, help="Stage the photos staged last, and those that people labelled, without SOURCE."
)
@options
@yes_option
def stage(source: str | None, env: str | None, as_json: bool, yes: bool, **options: Unpack[_StageOptions]) -> None:
    """Stage SOURCE, or the photos staged last with labels."""
    report, with_labels = options["report"], options["with_labels"]
    if source and with_labels:
        raise click.UsageError("--with-labels adds to the photos staged last; leave out SOURCE")
    flags = {"env": env, "data": source}
    run("stage", flags, as_json, lambda flow: flow.stage(report, with_labels=with_labels), agreed=yes)


@click.command(
    help=STEPS["forget"] + " PHOTO is the SHA-256 of its bytes; `scones review list` and `scones classify` show it."
)
@click.argument("photo")
@options
def forget(photo: str, env: str | None, as_json: bool) -> None:
    """Delete PHOTO."""
    run("forget", {"env": env}, as_json, lambda flow: flow.forget(photo))


@click.command(
    help=STEPS["image"] + " A local cloud runs the programs directly; there, a build only records the version."
)
@options
@yes_option
def image(env: str | None, as_json: bool, yes: bool) -> None:
    """Build the container image."""
    run("image", {"env": env}, as_json, lambda flow: flow.image(), agreed=yes)


@click.command(help=STEPS["train"])
@click.option("--seed", type=int, help="Seed of all random numbers.")
@options
@yes_option
def train(seed: int | None, env: str | None, as_json: bool, yes: bool) -> None:
    """Train on the photos staged last."""
    flags = {"env": env, "seed": seed}
    run("train", flags, as_json, lambda flow: flow.train(), agreed=yes)


@click.command(
    help=STEPS["register"]
    + " MODEL is an ONNX file with one input for photos and one output of a number for each class."
)
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "--photos", metavar="SOURCE", help="Stage these photos first, as `stage` does. [default: those staged last]"
)
@click.option("--classes", metavar="A,B,...", help="The classes in the order of the outputs. [default: as staged]")
@click.option(
    "--preprocess",
    metavar="WORDS",
    default="",
    help="How photos become the input, such as `nchw,rgb,imagenet`; docs/releases.md has all words. What is not named"
    " is read from the graph, or chosen by accuracy on the photos.",
)
@click.option("--output", metavar="NAME", default="", help="The output that answers, if there are several.")
@options
@yes_option
def register(  # noqa: PLR0913 - one parameter for each option
    model: Path,
    photos: str | None,
    classes: str | None,
    preprocess: str,
    output: str,
    env: str | None,
    as_json: bool,
    yes: bool,
) -> None:
    """Register an ONNX model made elsewhere."""
    named = [name.strip() for name in classes.split(",")] if classes else []
    run(
        "register",
        {"env": env},
        as_json,
        lambda flow: flow.register(model, photos, named, preprocess=preprocess, output=output),
        agreed=yes,
    )


@click.command(help=STEPS["approve"] + _WHICH)
@click.argument("model", type=MODEL, required=False)
@click.option("--reject", metavar="REASON", help="Reject it for this reason.")
@options
def approve(model: "ModelReference | None", reject: str | None, env: str | None, as_json: bool) -> None:
    """Approve or reject MODEL."""
    reason = "by hand" if reject is None else reject
    run("approve", {"env": env}, as_json, lambda flow: flow.approve(model, reason, reject=reject is not None))


@click.command(help=STEPS["up"])
@click.option("--threshold", type=float, help="Confidence (0 to 1) below which a photo is not routed.")
@click.option(
    "--replace-data", is_flag=True, help="Allow changes that replace or delete a bucket or table with its data."
)
@options
@yes_option
def up(threshold: float | None, replace_data: bool, env: str | None, as_json: bool, yes: bool) -> None:
    """Create or update the stack."""

    def bring(flow: "Pipeline") -> "StackOutputs":
        outputs = flow.up(replace_data=replace_data)
        flow.smoke()
        return outputs

    run("up", {"env": env, "threshold": threshold}, as_json, bring, agreed=yes)


_now = click.option(
    "--now", is_flag=True, help="Move all requests at once and watch no alarm: only you can then return them."
)


@click.command(help=STEPS["deploy"] + _WHICH)
@click.argument("model", type=MODEL, required=False)
@click.option("--mode", type=click.Choice(MODES), help="Run the endpoint on instances or serverless.")
@_now
@options
@yes_option
def deploy(  # noqa: PLR0913 - one parameter for each option
    model: "ModelReference | None", mode: str | None, now: bool, env: str | None, as_json: bool, yes: bool
) -> None:
    """Deploy MODEL."""

    def put(flow: "Pipeline") -> "DeployResult":
        serves = flow.deploy(model, now=now)
        flow.smoke()
        return serves

    run("deploy", {"env": env, "mode": mode}, as_json, put, agreed=yes)


@click.group(invoke_without_command=True, help=STEPS["retrain"])
@click.option("--reason", default="by hand", show_default=True, help="Why, for the model's lineage.")
@options
@yes_option
@click.pass_context
def retrain(context: click.Context, reason: str, env: str | None, as_json: bool, yes: bool) -> None:
    """Retrain on the labels."""
    from scones.retraining import retrain

    if context.invoked_subcommand is None:
        found = run("retrain", {"env": env}, as_json, lambda flow: retrain(flow, reason), agreed=yes)
        if found.outcome == "failed":
            raise SconesError(f"retraining {found.id} failed: {found.why}")


@retrain.command("approve")
@options
@yes_option
def retrain_approve(env: str | None, as_json: bool, yes: bool) -> None:
    """Deploy the model that a retraining proposes."""
    from scones.retraining import decide_retraining

    run("deploy", {"env": env}, as_json, decide_retraining, agreed=yes)


@retrain.command("reject")
@click.option("--reason", default="", help="Why, for the registry.")
@options
def retrain_reject(reason: str, env: str | None, as_json: bool) -> None:
    """Keep the live model instead of the one that a retraining proposes."""
    from scones.retraining import decide_retraining

    run("retrain", {"env": env}, as_json, lambda flow: decide_retraining(flow, reject=reason))


@click.command(help=STEPS["rollback"])
@click.option(
    "--to", type=click.IntRange(1), metavar="RELEASE", help="Return to the release of this number. [default: previous]"
)
@_now
@options
def rollback(to: int | None, now: bool, env: str | None, as_json: bool) -> None:
    """Return to an earlier release."""

    def back(flow: "Pipeline") -> "DeployResult":
        serves = flow.rollback(to, now=now)
        flow.smoke()
        return serves

    run("rollback", {"env": env}, as_json, back)


@click.command(help=STEPS["evaluate"])
@click.option(
    "--model",
    "model_file",
    type=MODEL,
    help="Evaluate this model.tar.gz, its folder, a number or s3://... instead of the endpoint; a file needs no AWS.",
)
@click.option("--data", metavar="SOURCE", help="With --model: source of its test photos, as in `stage`.")
@click.option(
    "--robustness", is_flag=True, help="Also evaluate on damaged photos: noise, blur, brightness, JPEG and others."
)
@click.option(
    "--against",
    type=MODEL,
    help="Compare with this other model: a number, a model.tar.gz, its folder, or s3://...",
)
@click.option("--load", is_flag=True, help="Also load-test endpoint and workflow with 1, 4, 16 and 64 clients.")
@click.option(
    "--unfamiliar",
    metavar="SOURCE",
    help="Also test on photos of other things, from a folder or `cifar100`.",
)
@click.option(
    "--gate", is_flag=True, help="Approve or reject the model by the gate_... settings; exit with 1 if it is rejected."
)
@click.option(
    "--report",
    type=WrittenPath(".json"),
    default=Path("reports/evaluation.html"),
    show_default=True,
    help="Path of the report; its figures are written beside it as JSON.",
)
@open_option
@options
@yes_option
def evaluate(
    model_file: "ModelReference | None",
    data: str | None,
    env: str | None,
    as_json: bool,
    yes: bool,
    **options: Unpack[_EvaluateOptions],
) -> None:
    """Evaluate the endpoint or a model file."""
    from scones.evaluation.gate import require_passed
    from scones.steps.evaluate import EvaluationOptions

    flags, wanted = {"env": env, "data": data}, EvaluationOptions(**options, ood=True)
    if model_file:
        result = _evaluate_model_file(model_file, flags, wanted, as_json)
    elif data:
        raise click.UsageError("--data needs --model; an endpoint is evaluated on the photos staged last")
    else:
        result = run("evaluate", flags, as_json, lambda flow: flow.evaluate(wanted), agreed=yes or not wanted.load)
    if wanted.gate and as_json:
        require_passed(result.gate)
    elif wanted.gate and not all(check.passed for check in result.gate):
        raise SconesError("the model did not pass the gate; the reasons are listed above")


def _evaluate_model_file(
    model: "ModelReference", flags: Mapping[str, object], options: "EvaluationOptions", as_json: bool
) -> "Evaluation":
    from dataclasses import replace

    from scones.cli.session import Terminal
    from scones.config.settings import load
    from scones.steps.evaluate import evaluate_file

    with files_of("evaluate", {"env": flags["env"]}, model, options.against) as (path, against), Terminal() as terminal:
        result = evaluate_file(path or Path(), load(flags), replace(options, against=against), terminal)
    tell_result(result, as_json=as_json)
    return result
