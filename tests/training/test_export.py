"""The exported model is the trained one, needs nothing around it, and explains its answers exactly."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest

from scones.training.backbone import OPSET
from scones.training.calibration import OodDetector, soften
from scones.training.export import FittedModel, ParityError, check_parity, export
from scones.training.head import fit_head, unit
from training.conftest import SIDE, Study


@pytest.fixture(scope="module")
def fitted(studied: Study) -> FittedModel:
    """A model of a head on all layers."""
    everything, others = np.arange(len(studied.data.labels)), np.arange(len(studied.study.outliers))
    head = fit_head(studied.study, {"layers": 0.01, "last": 0.01, "imagenet": 0.01}, everything, others)
    average = studied.study.views[0].mean(axis=0, dtype=np.float32)
    return FittedModel(studied.backbone, head, OodDetector((0.7, 12.0), -2.5, 1.0), 0.8, average)


@pytest.fixture(scope="module")
def session(fitted: FittedModel) -> onnxruntime.InferenceSession:
    """The model in ONNX Runtime."""
    return onnxruntime.InferenceSession(export(fitted), providers=["CPUExecutionProvider"])


def test_both_compute_the_same(studied: Study, fitted: FittedModel) -> None:
    """Over photos, pale ones, noisy ones and noise."""
    photos = studied.data.photos[:20]
    noise = np.random.default_rng(0).integers(0, 256, photos.shape, dtype=np.uint8)
    many = np.concatenate([photos, photos // 8, photos // 2 + noise // 8, noise])
    said = fitted.head.ask(studied.extractor.see(many))
    assert check_parity(export(fitted), fitted, many, said) < 5e-3


def test_the_model_keeps_the_contract(session: onnxruntime.InferenceSession, studied: Study) -> None:
    """One input and its outputs by name and type, opset 18, any batch."""
    (photos,) = session.get_inputs()
    assert (photos.name, photos.type, photos.shape) == ("photos", "tensor(uint8)", ["N", SIDE, SIDE, 3])
    found = {each.name: (each.type, each.shape) for each in session.get_outputs()}
    assert found == {
        "probabilities": ("tensor(float)", ["N", 3]),
        "unfamiliarity": ("tensor(float)", ["N"]),
        "logits": ("tensor(float)", ["N", 3]),
        "evidence": ("tensor(float)", ["N", 3, SIDE // 16, SIDE // 16]),
        "features": ("tensor(float)", ["N", 1280]),
        "nearest": ("tensor(int64)", ["N", 5]),
        "similarity": ("tensor(float)", ["N", 5]),
    }
    for count in (1, 9):
        answers = session.run(None, {"photos": studied.data.photos[:count]})
        assert [len(each) for each in answers] == [count] * 7


def test_the_opset_is_pinned(fitted: FittedModel) -> None:
    """What an older ONNX Runtime can read."""
    versions = {each.domain: each.version for each in onnx.load_from_string(export(fitted)).opset_import}
    assert versions[""] == OPSET


def test_the_evidence_of_all_places_adds_up_to_the_logits(
    session: onnxruntime.InferenceSession, studied: Study
) -> None:
    """But for one constant of each class, whatever the photo."""
    logits, evidence = session.run(["logits", "evidence"], {"photos": studied.data.photos[:30]})
    rest = logits - evidence.sum(axis=(2, 3))
    assert np.allclose(rest, rest[0], atol=2e-3 * np.abs(logits).max())


def test_logits_are_those_of_the_probabilities(session: onnxruntime.InferenceSession, studied: Study) -> None:
    """The temperature is in them."""
    logits, probabilities = session.run(["logits", "probabilities"], {"photos": studied.data.photos[:9]})
    assert np.allclose(soften(logits, 1.0), probabilities, atol=1e-5)


def test_a_training_photo_is_its_own_nearest(session: onnxruntime.InferenceSession, studied: Study) -> None:
    """With similarity 1, and the others behind it."""
    nearest, similarity, features = session.run(
        ["nearest", "similarity", "features"], {"photos": studied.data.photos[:12]}
    )
    assert np.allclose(similarity[:, 0], 1, atol=2e-3)
    expected = unit(studied.study.views[0][:, studied.backbone.last].astype(np.float32)) @ features.T
    assert np.allclose(expected.max(axis=0), similarity[:, 0], atol=2e-3)
    assert (np.diff(similarity, axis=1) <= 0).all()
    assert np.allclose(np.take_along_axis(expected.T, nearest, axis=1), similarity, atol=2e-3)


def test_a_noisy_photo_beside_them_leaves_the_answers_to_calm_ones(
    session: onnxruntime.InferenceSession, studied: Study
) -> None:
    """Who shares a batch must not matter."""
    calm = studied.data.photos[:4] // 6 + 100
    noise = np.random.default_rng(0).integers(0, 256, (1, SIDE, SIDE, 3), dtype=np.uint8)
    outputs = ["probabilities", "unfamiliarity"]
    alone, beside = (session.run(outputs, {"photos": each}) for each in (calm, np.concatenate([calm, noise])))
    for one, other in zip(alone, beside, strict=True):
        assert np.allclose(one, other[: len(calm)], rtol=1e-2, atol=1e-2)


def test_the_same_head_gives_the_same_bytes(fitted: FittedModel) -> None:
    """So the model file's version is that of its content."""
    assert export(fitted) == export(fitted)


@pytest.mark.parametrize("change", ["bias", "outlier_bias"])
def test_a_difference_is_refused(studied: Study, fitted: FittedModel, change: str) -> None:
    """A model of other weights does not leave training, nor one with another OOD detector."""
    photos = studied.data.photos[:20]
    said = fitted.head.ask(studied.extractor.see(photos))
    moved = np.array([5, 0, 0], np.float32) if change == "bias" else 5.0
    wrong = replace(fitted, head=replace(fitted.head, **{change: getattr(fitted.head, change) + moved}))
    with pytest.raises(ParityError, match="differs from the trained one"):
        check_parity(export(wrong), fitted, photos, said)


def test_training_loads_no_torch() -> None:
    """Nor is it installed."""
    code = "import sys, scones.training.train; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
