"""A foreign model of any form becomes a model file; one that cannot is refused in one line, within limits."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from foreign_models import CLASSES, SIDE, build, drawings, features, give_job, network, normalized, weights
from scones.training.export import export
from scones.training.preprocessing import parse_preprocessing
from scones.training.registration import (
    MAX_MODEL_BYTES,
    OPTIONS_FILE,
    CannotRegister,
    RegistrationOptions,
    run_job,
    write_job,
)
from scones.training.registration_job import Fitted, fit_foreign
from scones.training.sagemaker_entrypoint import TrainingJob

Constant = numpy_helper.from_array


def node(kind: str, inputs: str, outputs: str, **attributes: Any) -> onnx.NodeProto:
    """A node, with its inputs and outputs in one string each."""
    return helper.make_node(kind, inputs.split(), outputs.split(), **attributes)


def fitted(folder: Path, model: onnx.ModelProto | bytes, **options: Any) -> Fitted:
    """Fit it in this process."""
    job = give_job(folder, model, **options)
    named = msgspec.json.decode((job / "input" / "config" / OPTIONS_FILE).read_bytes(), type=RegistrationOptions)
    return fit_foreign(TrainingJob(job), named)


FORMS: dict[str, tuple[Callable[[], onnx.ModelProto], dict[str, str], bool]] = {
    "logits": (network, {}, True),
    "probabilities": (lambda: network(node("Softmax", "logits", "p"), output="p"), {}, True),
    "one logit": (lambda: one_number("difference"), {}, True),
    "one probability": (lambda: one_number("p"), {}, True),
    "a number for each class by itself": (lambda: network(node("Sigmoid", "logits", "p"), output="p"), {}, False),
    "a batch of one photo": (lambda: network(shape=(1, 3, SIDE, SIDE)), {}, True),
    "photos of any size": (lambda: network(shape=("N", 3, "h", "w")), {"preprocess": f"size={SIDE}"}, True),
    "an old operator set": (lambda: network(opset=11), {}, True),
    "maxima of the maps": (lambda: network(pooling="GlobalMaxPool"), {}, False),
    "no linear last layer": (lambda: network(node("Tanh", "logits", "t"), output="t"), {}, False),
    "several outputs": (lambda: with_outputs("logits", "features"), {}, True),
    "a named output of several that fit": (lambda: with_outputs("logits", "again"), {"output": "logits"}, True),
}


def one_number(output: str) -> onnx.ModelProto:
    """A network whose only number speaks for the second class."""
    filters, linear, bias = weights()
    parts = [
        *features(filters),
        Constant(linear[:, 1:] - linear[:, :1], "linear"),
        Constant(bias[1:] - bias[:1], "bias"),
        node("MatMul", "features linear", "product"),
        node("Add", "product bias", "difference"),
        node("Sigmoid", "difference", "p"),
    ]
    return build(parts, output, 1)


def with_outputs(*names: str, more: tuple[onnx.NodeProto, ...] = ()) -> onnx.ModelProto:
    """The network with these outputs."""
    model = network(node("Identity", "logits", "again"), *more)
    del model.graph.output[:]
    model.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)
    return model


def own_answers(model: onnx.ModelProto, photos: np.ndarray[Any, Any], output: str) -> np.ndarray[Any, Any]:
    """The number that speaks for the second class, by the model itself: logit or probability."""
    session = onnxruntime.InferenceSession(model.SerializeToString())
    name = output or session.get_outputs()[0].name
    rows = np.concatenate([session.run([name], {"input": normalized(photo[None])})[0] for photo in photos])
    return np.asarray(rows[:, -1] - (rows[:, 0] if rows.shape[1] == 2 else 0.5 if rows.min() >= 0 else 0))


@pytest.mark.parametrize("name", FORMS)
def test_a_classifier_of_any_form_answers_as_before(tmp_path: Path, name: str) -> None:
    """The same class for each photo; where the last layer is linear on means, the evidence adds up to the logits."""
    made, given, explained = FORMS[name]
    words = ",".join(filter(None, ("rgb,imagenet", given.get("preprocess", ""))))
    found = fitted(tmp_path, made(), preprocess=words, output=given.get("output", ""))
    photos = drawings("test", 15).reshape(-1, SIDE, SIDE, 3)
    session = onnxruntime.InferenceSession(export(found.model))
    outputs = [each.name for each in session.get_outputs()]
    answers = dict(zip(outputs, session.run(None, {"photos": photos}), strict=True))
    before = own_answers(made(), photos, given.get("output", ""))
    after = answers["probabilities"][:, 1] - 0.5
    assert (np.sign(after) == np.sign(before))[np.abs(before) > 1e-3].all()
    assert np.all(np.diff(after[np.argsort(before)]) > -1e-3)
    assert answers["similarity"].max(axis=1).min() > 0.99, "each photo is among those that it is compared with"
    assert ("evidence" in answers) == explained
    if explained:
        rests = answers["logits"] - answers["evidence"].sum(axis=(2, 3))
        np.testing.assert_allclose(rests, np.broadcast_to(rests[0], rests.shape), atol=1e-3)


def big(*sides: int) -> onnx.TensorProto:
    """Sides of a tensor that is made while the model runs."""
    return Constant(np.array(sides, np.int64), "sides")


def external(location: str, *, attribute: bool = False) -> onnx.ModelProto:
    """A network whose constant lies in another file."""
    model = network(node("Add", "logits more", "sum"), output="sum")
    tensor = TensorProto(name="more", data_type=TensorProto.FLOAT, dims=[2], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value=location)
    if attribute:
        model.graph.node.insert(0, node("Constant", "", "more", value=tensor))
    else:
        model.graph.initializer.append(tensor)
    return model


def with_function() -> onnx.ModelProto:
    """A network that defines an operator by others."""
    model = network()
    imports = [helper.make_opsetid("", 17)]
    model.functions.append(helper.make_function("here", "Twice", ["a"], ["b"], [node("Add", "a a", "b")], imports))
    return model


def branching(kind: str) -> onnx.ModelProto:
    """A network with a graph in a graph."""
    inner = helper.make_graph([node("Identity", "logits", "same")], "inner", [], [])
    attributes = {"If": {"then_branch": inner, "else_branch": inner}, "Loop": {"body": inner}, "Scan": {"body": inner}}
    return network(node(kind, "logits", "out", **attributes[kind]), output="out")


def with_inputs(*kinds: int | None, shape: Any = ("N", 3, SIDE, SIDE)) -> onnx.ModelProto:
    """A network with an input of each kind; None is one that is no tensor."""
    model = network()
    del model.graph.input[:]
    for number, kind in enumerate(kinds):
        name = f"more{number}" if number else "input"
        tensor = helper.make_tensor_type_proto(kind or TensorProto.FLOAT, shape)
        whole = tensor if kind is not None else helper.make_sequence_type_proto(tensor)
        model.graph.input.append(helper.make_value_info(name, whole))
    return model


def at_opset(version: int) -> onnx.ModelProto:
    """A network that says that it is of this operator set; 0 says nothing."""
    model = network()
    del model.opset_import[:]
    if version:
        model.opset_import.append(helper.make_opsetid("", version))
    return model


BAD: dict[str, tuple[Callable[[], onnx.ModelProto | bytes], str]] = {
    "no bytes": (lambda: b"", "graphs in place of one"),
    "garbage": (lambda: b"\xff" * 1000, "no ONNX model"),
    "text": (lambda: b"version https://git-lfs.github.com/spec/v1\n", "ONNX"),
    "a pickle": (lambda: b"\x80\x04\x95\x1b\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94.", "ONNX"),
    "a zip archive": (lambda: b"PK\x03\x04" + bytes(100), "ONNX"),
    "half a model": (lambda: network().SerializeToString()[:5000], "cut short|no ONNX model"),
    "messages without end": (lambda: b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "cut short|ONNX"),
    "groups in groups": (lambda: b"\x3b" * 100_000, "no ONNX model"),
    "a custom operator": (lambda: network(node("Magic", "logits", "m", domain="my.ops"), output="m"), "own operators"),
    "an unknown operator": (lambda: network(node("Magic", "logits", "m"), output="m"), "Magic"),
    "a function": (with_function, "inline"),
    "external data": (lambda: external("model.onnx.data"), r"onnx\.save_model"),
    "external data outside": (lambda: external("../../../../etc/passwd"), "another file"),
    "external data in an attribute": (lambda: external("/etc/passwd", attribute=True), "another file"),
    "a branch": (lambda: branching("If"), "branches or loops"),
    "a loop": (lambda: branching("Loop"), "branches or loops"),
    "a scan": (lambda: branching("Scan"), "branches or loops"),
    "operators of the future": (lambda: at_opset(99), "operator set 99"),
    "no operator set": (lambda: at_opset(0), "operator set 0"),
    "an undefined name": (lambda: network(node("Add", "logits nowhere", "s"), output="s"), "nowhere"),
    "a circle": (
        lambda: network(node("Add", "logits b", "a"), node("Neg", "a", "b"), output="a"),
        "cannot load|not valid",
    ),
    "no input": (with_inputs, "0 inputs"),
    "two inputs": (lambda: with_inputs(TensorProto.FLOAT, TensorProto.FLOAT), r"2 inputs \(input, more1\)"),
    "an input that is no tensor": (lambda: with_inputs(None), "no tensor"),
    "whole numbers": (lambda: with_inputs(TensorProto.INT64), "int64"),
    "text as input": (lambda: with_inputs(TensorProto.STRING), "string"),
    "truth values": (lambda: with_inputs(TensorProto.BOOL), "bool"),
    "bfloat16": (lambda: with_inputs(TensorProto.BFLOAT16), "float32"),
    "one channel": (lambda: with_inputs(TensorProto.FLOAT, shape=["N", 1, SIDE, SIDE]), "1 channels as nchw"),
    "four channels": (lambda: with_inputs(TensorProto.FLOAT, shape=["N", 4, SIDE, SIDE]), "4 channels"),
    "rows": (lambda: with_inputs(TensorProto.FLOAT, shape=["N", 3]), "shape 0x3|shape [?]x3"),
    "videos": (lambda: with_inputs(TensorProto.FLOAT, shape=["N", 3, 8, SIDE, SIDE]), "not the four sides"),
    "an unknown rank": (lambda: with_inputs(TensorProto.FLOAT, shape=None), "not the four sides"),
    "huge photos": (lambda: with_inputs(TensorProto.FLOAT, shape=["N", 3, 5000, 5000]), "5000 x 5000"),
    "tiny photos": (lambda: with_inputs(TensorProto.FLOAT, shape=["N", 3, 2, 2]), "2 x 2"),
    "three classes": (
        lambda: network(node("Concat", "logits logits", "four", axis=1), output="four", columns=4),
        r"\[1, 4\] for one photo, and the photos have 2 classes",
    ),
    "a class in place of numbers": (
        lambda: with_outputs("a", more=(node("ArgMax", "logits", "a", axis=1),)),
        "2 classes",
    ),
    "maps in place of numbers": (lambda: build(features(weights()[0]), "active", None), "2 classes"),
    "two outputs that fit": (lambda: with_outputs("logits", "again"), "--output"),
    "one photo at a time": (
        lambda: network(
            Constant(np.array([1, -1]), "one"),
            node("Reshape", "logits one", "row"),
            output="row",
            shape=(1, 3, SIDE, SIDE),
        ),
        "batch size",
    ),
    "not a number": (
        lambda: network(
            node("Log", "active", "l"),
            node("GlobalAveragePool", "l", "p"),
            node("Flatten", "p", "f"),
            node("Gemm", "f linear", "out"),
            output="out",
        ),
        "not finite",
    ),
    "the same for each photo": (
        lambda: network(node("Sub", "logits logits", "none"), output="none"),
        "the same answer",
    ),
    "chance": (
        lambda: network(node("RandomNormalLike", "logits", "r"), node("Add", "r logits", "s"), output="s"),
        "changes when it is asked again",
    ),
    "classes in another order": (lambda: network(order=(1, 0)), "--classes motorcycle,bicycle"),
    "too slow": (
        lambda: network(
            big(3000, 3000),
            *(
                node("ConstantOfShape", "sides", "square")
                if step == 0
                else node("MatMul", f"square{step - 1 or ''} square", f"square{step}")
                for step in range(60)
            ),
            node("ReduceMean", "square59", "much", keepdims=0),
            node("Add", "logits much", "sum"),
            output="sum",
        ),
        "more than 1 s for one photo",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_model_that_cannot_be_registered_says_why_in_one_line(tmp_path: Path, name: str) -> None:
    """Whatever the file holds: what is wrong, and what to do."""
    made, words = BAD[name]
    with pytest.raises(CannotRegister, match=words) as told:
        fitted(tmp_path, made(), split="train", preprocess="rgb,imagenet")
    assert str(told.value).isprintable()
    assert "; " in str(told.value)
    assert len(str(told.value)) < 1024


LIMITED: dict[str, tuple[Callable[[], onnx.ModelProto], str]] = {
    "memory": (
        lambda: network(big(60_000, 60_000), *sum_of("ConstantOfShape"), output="sum"),
        "allocate|allocation|GB of memory",
    ),
    "memory before it runs": (
        lambda: network(
            Constant(np.array([60_000, 60_000], np.int64), "sides"), *sum_of("ConstantOfShape"), output="sum"
        ),
        "allocate|allocation|GB of memory",
    ),
    "one operator without an end": (
        lambda: network(big(15_000, 15_000), *sum_of("ConstantOfShape", times=4), output="sum"),
        "more than 1 s|without an end",
    ),
}


def sum_of(kind: str, times: int = 0) -> list[onnx.NodeProto]:
    """Nodes that make a large square, multiply it by itself, and add its mean to the logits."""
    squares = [node(kind, "sides", "square0")]
    squares += [node("MatMul", f"square{step} square{step}", f"square{step + 1}") for step in range(times)]
    return [*squares, node("ReduceMean", f"square{times}", "much", keepdims=0), node("Add", "logits much", "sum")]


@pytest.mark.parametrize("name", LIMITED)
def test_a_model_that_takes_too_much_is_ended(tmp_path: Path, name: str) -> None:
    """In a program of its own, which cannot take this one's memory or time."""
    made, words = LIMITED[name]
    job = give_job(tmp_path, made(), count=3)
    with pytest.raises(CannotRegister, match=words):
        run_job(job, lambda _line: None, silence_seconds=10)


def test_the_program_that_runs_a_model_gets_no_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable of the account, and no file but its own folder is named to it."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    job = give_job(tmp_path, b"", count=3)
    (job / "sitecustomize.py").write_text("import os; open('seen', 'w').write(str(dict(os.environ)))")
    monkeypatch.chdir(job)
    monkeypatch.syspath_prepend(str(job))
    with pytest.raises(CannotRegister, match="graphs in place of one"):
        run_job(job, lambda _line: None)
    assert "secret" not in (job / "seen").read_text()


WORDS: dict[str, str] = {
    "grey": "'grey' is not known",
    "nchw,nhwc": "two things of its layout",
    "imagenet,0..1": "two things of its scale",
    "imagenet,mean=0/0/0": "beside a named scale",
    "caffe,rgb": "caffe always is bgr",
    "size=0": "'size=0' is not known",
    "size=many": "'size=many' is not known",
    "size=99999": "'size=99999' is not known",
    "mean=1/2": "is not known",
    "mean=nan/0/0": "is not known",
    "std=0/1/1": "is not known",
    "std=1/1/-1": "is not known",
    "\x1b[2J": "is not known",
}


@pytest.mark.parametrize("text", WORDS, ids=repr)
def test_words_of_preprocessing_that_mean_nothing_are_refused(text: str) -> None:
    """With all the words that there are."""
    with pytest.raises(CannotRegister, match=re.escape(WORDS[text])) as told:
        parse_preprocessing(text)
    assert str(told.value).isprintable()


@pytest.mark.parametrize("text", ["", "nhwc", "bgr,-1..1", "mean=0.5/0.5/0.5,std=0.25/0.25/0.25,nchw,size=64", "caffe"])
def test_preprocessing_is_written_as_it_is_read(text: str) -> None:
    """Each way that is left open is one of the words."""
    for way in parse_preprocessing(text).candidates():
        assert parse_preprocessing(str(way)) == way


@pytest.mark.parametrize("made", ["nothing", "a folder", "too large", "a name with a zero"])
def test_a_path_that_names_no_model_is_refused(tmp_path: Path, made: str) -> None:
    """Before anything is read into memory."""
    path = tmp_path / "model.onnx"
    if made == "a name with a zero":
        path = tmp_path / "model.onnx\0"
    if made == "a folder":
        path.mkdir()
    if made == "too large":
        with path.open("wb") as file:
            file.truncate(MAX_MODEL_BYTES + 1)
    with pytest.raises(CannotRegister, match=r"model\.onnx"):
        write_job(tmp_path / "job", path, RegistrationOptions(CLASSES, "v"))
