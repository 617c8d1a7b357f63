"""A trained network as an ONNX file, for programs without PyTorch; written only if it computes the same there."""

import contextlib
import io
import json
import logging
import warnings
from pathlib import Path

import torch

from convnext_lessons.data.augmentation import MEAN, STD
from convnext_lessons.system.errors import CourseError
from convnext_lessons.system.storage import atomic
from convnext_lessons.training.trained import TrainedNetwork

LARGEST_DIFFERENCE = 1e-3  # of an output, relative to the largest; sums in another order differ by some millionths


class ExportError(CourseError):
    """A network that cannot be exported."""


def export_onnx(trained: TrainedNetwork, path: str | Path) -> float:
    """Write a network as ONNX: ``pictures`` [N, 3, side, side], standardized, any N → ``outputs`` [N, classes].

    The file's metadata hold the classes, the side, and the mean and standard deviation of standardized pictures. It is
    run on two random pictures, and compared, before it gets its name.

    Returns:
        The largest difference of an output, relative to the largest output.

    Raises:
        ExportError: the packages that ONNX needs are missing, or the file computes something else.
        StorageError: the file cannot be written.
    """
    try:
        import onnx
        import onnxruntime
        import onnxscript  # noqa: F401 – torch.onnx needs it, and says so less plainly
    except ImportError as error:
        raise ExportError(
            f"ONNX needs the package {error.name}: pip install onnx onnxruntime onnxscript, then export again."
        ) from error
    side = trained.recipe.validation_size
    network = trained.network.cpu().eval()
    pictures = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(0))
    with _quiet():
        program = torch.onnx.export(
            network,
            (pictures,),
            dynamo=True,
            input_names=["pictures"],
            output_names=["outputs"],
            dynamic_shapes=({0: torch.export.Dim("count")},),
        )
    model = program.model_proto
    about = {"classes": trained.classes, "side": side, "mean": MEAN, "std": STD, "source": trained.source}
    onnx.helper.set_model_props(model, {name: json.dumps(value) for name, value in about.items()})
    content = model.SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    (found,) = session.run(["outputs"], {"pictures": pictures.numpy()})
    with torch.no_grad():
        expected = network(pictures)
    difference = ((torch.from_numpy(found) - expected).abs().max() / expected.abs().max()).item()
    if not difference <= LARGEST_DIFFERENCE:
        raise ExportError(
            f"The ONNX file computes outputs that differ by {difference:.1%} of the largest, so it was not written; "
            "other versions of torch and onnxruntime may agree."
        )
    with atomic(path) as part:
        part.write_bytes(content)
    return difference


@contextlib.contextmanager
def _quiet():
    """The exporter tells of each of its stages; here only its errors matter, which it raises."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
