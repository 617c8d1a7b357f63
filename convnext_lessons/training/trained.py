"""A trained network with what its use needs: the classes of its outputs, and how a picture becomes its input.

It comes from a run's folder, from a file of weights, or is one of torchvision's published networks.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import torch
from torch import nn
from torchvision.transforms import InterpolationMode

from convnext_lessons.data.augmentation import standardize
from convnext_lessons.data.folders import central_square, read_image, read_pixels
from convnext_lessons.data.loader import AnyImages, Validation
from convnext_lessons.model.network import ResNet, build
from convnext_lessons.model.pretrained import FAMILIES, is_end, load_weights, save_weights, weights_in
from convnext_lessons.model.roadmap import PAPER_STEPS, architecture_after
from convnext_lessons.runs.recipe import Recipe
from convnext_lessons.runs.recipes import PAPER
from convnext_lessons.runs.records import Experiment
from convnext_lessons.system.distributed import SINGLE_PROCESS, Process
from convnext_lessons.system.errors import in_a_line
from convnext_lessons.system.storage import atomic
from convnext_lessons.training.checkpoints import read_checkpoint
from convnext_lessons.training.evaluation import Scores, evaluate
from convnext_lessons.training.transfer import IMAGENET_LABELS, PRETRAINED, TransferError, load_pretrained

# The published networks by the names that the command line takes.
PUBLISHED = dict(zip(("resnet50", "resnet50-modern", "convnext-t"), PRETRAINED, strict=True))

METADATA = "convnext_lessons"  # the key in a file of weights under which the rest is written down

# The last layer's bias under everybody's names; as long as there are classes.
_LAST_BIASES = ("head.3.bias", "classifier.2.bias", "head.fc.bias", "head.bias", "fc.bias")


@dataclass(frozen=True)
class TrainedNetwork:
    """A network and what belongs to it.

    Attributes:
        network: in evaluation mode.
        classes: names, in the order of the outputs.
        experiment: what it was trained by, as far as that is known; its recipe prepares pictures.
        source: where it comes from, in words.
        precision: the number format of its training's forward pass, such as ``"bfloat16"``; None where nobody knows.
    """

    network: ResNet
    classes: tuple[str, ...]
    experiment: Experiment
    source: str
    precision: str | None = None

    @property
    def recipe(self) -> Recipe:
        return self.experiment.recipe

    def prepare(self, picture: str | Path | IO[bytes]) -> torch.Tensor:
        """A picture file as the network takes it, [3, side, side].

        Raises:
            ImagesError: it is no readable picture.
        """
        return prepare_picture(self.recipe, picture)

    @torch.no_grad()
    def predict(self, pictures: Sequence[str | Path | IO[bytes]], top: int = 5) -> list[list[tuple[str, float]]]:
        """For each picture its ``top`` classes with their probabilities, the most likely first.

        Raises:
            ImagesError: one is no readable picture.
        """
        device = next(self.network.parameters()).device
        found = []
        for picture in pictures:  # one by one: a folder of them need not fit into memory
            outputs = self.network(self.prepare(picture)[None].to(device))[0].float()
            probabilities, labels = outputs.softmax(0).topk(min(top, len(self.classes)))
            names = (self.classes[label] for label in labels.tolist())
            found.append(list(zip(names, probabilities.tolist(), strict=True)))
        return found

    def evaluate(
        self, images: AnyImages, process: Process = SINGLE_PROCESS, precision: torch.dtype | None = None
    ) -> Scores:
        """How well it classifies a data set's validation pictures, among all of its own classes.

        Args:
            images: what ``open_images`` gives for its recipe.
            precision: of the forward pass. Unless given, what was trained in float32 is judged in it, and anything else
                in the device's own format, since a CPU may have none of 16 bits.

        Raises:
            TransferError: the data set has a class that the network does not know.
        """
        if self.precision == "float32":
            precision = precision or torch.float32
        device = next(self.network.parameters()).device
        labels = label_map(self.classes, images.classes).to(device)
        batches = Validation(images.to(device) if hasattr(images, "to") else images, self.recipe, device, process)
        own = ((pictures, labels[theirs]) for pictures, theirs in batches)
        return evaluate(self.network, own, device, process, precision)


def prepare_picture(recipe: Recipe, picture: str | Path | IO[bytes]) -> torch.Tensor:
    """A picture file as a recipe's validation has it, [3, side, side].

    Raises:
        ImagesError: it is no readable picture.
    """
    if recipe.augmentation == "batches":  # as pictures in memory are: the whole central square
        pixels = central_square(read_image(picture), recipe.validation_size)
    else:
        pixels = recipe.evaluation_transform()(read_pixels(picture))
    return standardize(pixels[None])[0]


def label_map(known: Sequence[str], classes: Sequence[str]) -> torch.Tensor:
    """Where a data set's classes are among a network's, [len(classes)]: by their names; ImageNet's thousand by their
    order, and Imagenette's ten in it.

    Raises:
        TransferError: one of them is none of the network's.
    """
    if len(known) == len(classes) == 1000:
        return torch.arange(1000)
    places = {name: place for place, name in enumerate(known)}
    if len(known) == 1000:
        places |= IMAGENET_LABELS
    unknown = [name for name in classes if name not in places]
    if unknown:
        some = ", ".join(known[:5]) + (" …" if len(known) > 5 else "")
        raise TransferError(
            f"The network does not know {len(unknown)} of the {len(classes)} classes, the first is {unknown[0]}; it "
            f"knows {some}; choose other pictures, or train it on these."
        )
    return torch.tensor([places[name] for name in classes])


def open_trained(source: str | Path, device: str | torch.device | None = None) -> TrainedNetwork:
    """A trained network by name or place.

    Args:
        source: a run's folder; a file of weights, ``.safetensors`` or ``.pt``, of the course or under torchvision's,
            timm's or the authors' names; or a name in ``PUBLISHED``, which is downloaded once.

    Raises:
        TransferError: it is none of these, or the download fails.
        CheckpointError: the run's checkpoint cannot be read.
        WeightsError: the file's weights belong to no network of the course.
    """
    device = SINGLE_PROCESS.device(device)
    path = Path(source)
    if str(source) in PUBLISHED:
        trained = _published(str(source))
    elif os.path.isdir(path):  # other than Path's own, also for a name that no file can have
        trained = _of_run(path)
    elif os.path.isfile(path):
        trained = _of_file(path)
    else:
        raise TransferError(
            f"{in_a_line(source)} is no run's folder, no file of weights, and none of {', '.join(PUBLISHED)}; say one "
            "of these."
        )
    return _ready(trained, device)


def load_run(folder: str | Path, device: str | torch.device | None = None) -> tuple[Experiment, nn.Module]:
    """The experiment and the network of a run's last checkpoint, its averaged weights where it keeps them.

    Returns:
        (``Experiment``, network in evaluation mode)

    Raises:
        CheckpointError: there is no checkpoint that can be read.
    """
    trained = _ready(_of_run(Path(folder)), SINGLE_PROCESS.device(device))
    return trained.experiment, trained.network


def save_trained(trained: TrainedNetwork, path: str | Path, family: str | None = None) -> None:
    """Write a network's weights as safetensors, and beside them what ``open_trained`` needs to make it again.

    Args:
        family: whose names they get, see ``save_weights``; torchvision's for an end of the road unless given, for any
            other network the course's own.

    Raises:
        WeightsError: the family has no such network.
        StorageError: the file cannot be written.
    """
    from safetensors.torch import save

    if family is None:
        family = FAMILIES[0] if is_end(trained.network) else None
    tensors = save_weights(trained.network, family) if family else trained.network.state_dict()
    about = {"classes": trained.classes, "precision": trained.precision, **trained.experiment.settings()}
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    content = save(tensors, metadata={METADATA: json.dumps(about)})
    with atomic(path) as part:
        part.write_bytes(content)


def _ready(trained, device):
    trained.network.to(device, memory_format=torch.channels_last).eval()
    return trained


def _published(slug):
    name = PUBLISHED[slug]
    step, weights = PRETRAINED[name]
    shape = weights.transforms()
    (side,), (resized,) = shape.crop_size, shape.resize_size
    recipe = PAPER.change(
        name=slug,
        evaluation_size=side,
        evaluation_share=side / resized,
        interpolation=InterpolationMode(shape.interpolation).value,
    )
    experiment = Experiment(architecture_after(step), recipe)
    return TrainedNetwork(load_pretrained(name), tuple(weights.meta["categories"]), experiment, f"torchvision's {name}")


def _of_run(folder):
    saved = read_checkpoint(folder)
    experiment = Experiment.from_settings(saved["signature"])
    network = _bare_network(experiment, saved["classes"])
    # An average's state dict holds the network's under "module.", beside a counter.
    average = {
        name.removeprefix("module."): tensor
        for name, tensor in saved.get("average", {}).items()
        if name.startswith("module.")
    }
    network.load_state_dict(average or saved["network"])
    classes = tuple(saved["signature"]["classes"])
    return TrainedNetwork(network, classes, experiment, f"the run in {folder}", saved.get("precision"))


def _of_file(path):
    state, about = _read_weights(path)
    if about is not None:
        experiment, classes = Experiment.from_settings(about), tuple(about["classes"])
        network = _bare_network(experiment, len(classes))
        load_weights(network, state)
        return TrainedNetwork(network, classes, experiment, str(path), about.get("precision"))
    bias = next((state[name] for name in _LAST_BIASES if name in state), None)
    count = len(bias) if bias is not None and bias.ndim == 1 else 1000
    # An end of the road, by whose layers its names are; ResNet-50's stem has a name that no ConvNeXt has.
    end = 0 if "conv1.weight" in state else PAPER_STEPS[-1]
    experiment = Experiment(architecture_after(end), PAPER)
    network = _bare_network(experiment, count)
    load_weights(network, state)
    return TrainedNetwork(network, _class_names(count), experiment, str(path))


def _bare_network(experiment, classes):
    arch, recipe = experiment.architecture.thinner(experiment.recipe.width_factor), experiment.recipe
    return build(arch, classes, recipe.stochastic_depth, recipe.layer_scale_init)


def _class_names(count):
    if count == 1000:
        _, weights = PRETRAINED["ConvNeXt-T"]
        return tuple(weights.meta["categories"])
    return tuple(f"class {number}" for number in range(count))


def _read_weights(path):
    """(tensors by name, what the course wrote beside them or None)."""
    try:
        if path.suffix == ".safetensors":
            from safetensors import safe_open

            with safe_open(path, "pt") as file:
                about = (file.metadata() or {}).get(METADATA)
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 – it is no dictionary
            return tensors, about and json.loads(about)
        content = torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:  # a damaged file can raise nearly anything
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise TransferError(
            f"{path} is no readable file of weights ({reason[:200]}); give one that ends in .safetensors, or one that "
            "torch.save wrote of a state dict."
        ) from error
    return weights_in(content), None
