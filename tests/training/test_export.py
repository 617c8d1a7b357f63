import builtins
import json

import onnx
import onnxruntime
import pytest
import torch

from convnext_lessons.model import architecture_after, build
from convnext_lessons.runs import POCKET, make_experiment
from convnext_lessons.training import ExportError, TrainedNetwork, export_onnx

CLASSES = ("cat", "dog", "zebra")


@pytest.fixture(scope="module")
def trained():
    torch.manual_seed(0)
    recipe = POCKET.change(image_size=32, width_factor=1 / 16)
    network = build(architecture_after(11).thinner(1 / 16), 3, layer_scale_init=1.0).eval()
    return TrainedNetwork(network, CLASSES, make_experiment(11, recipe), "here")


def test_an_onnx_file_computes_the_same_for_any_number_of_pictures(trained, tmp_path):
    assert export_onnx(trained, tmp_path / "x.onnx") < 1e-5
    session = onnxruntime.InferenceSession(tmp_path / "x.onnx")
    pictures = torch.randn(5, 3, 32, 32)
    (outputs,) = session.run(["outputs"], {"pictures": pictures.numpy()})
    with torch.no_grad():
        torch.testing.assert_close(torch.from_numpy(outputs), trained.network(pictures), rtol=1e-3, atol=1e-5)
    about = {entry.key: json.loads(entry.value) for entry in onnx.load(tmp_path / "x.onnx").metadata_props}
    assert about["classes"] == list(CLASSES)
    assert about["side"] == 32


def test_a_file_that_computes_something_else_is_not_written(trained, tmp_path, monkeypatch, refuses):
    class Wrong:
        def __init__(self, *_, **__):
            pass

        def run(self, *_):
            return [torch.zeros(2, 3).numpy()]

    monkeypatch.setattr(onnxruntime, "InferenceSession", Wrong)
    with refuses(ExportError, "100.0%"):
        export_onnx(trained, tmp_path / "x.onnx")
    assert not list(tmp_path.glob("*.onnx"))


@pytest.mark.parametrize("name", ["onnx", "onnxruntime", "onnxscript"])
def test_a_missing_package_is_named(name, trained, tmp_path, monkeypatch, refuses):
    original = builtins.__import__

    def without(wanted, *args, **kwargs):
        if wanted == name:
            raise ImportError(name=name)
        return original(wanted, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with refuses(ExportError, f"package {name}", "pip install"):
        export_onnx(trained, tmp_path / "x.onnx")
