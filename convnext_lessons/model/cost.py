"""What a network costs: multiply-adds, parameters and activation memory, by layer and by stage.

One multiply-add counts as 1, and a cost is always that of one picture. ``count`` uses torch's own counter on tensors
without content, fast enough for a slider; ``count_with_fvcore`` counts real tensors, gives the ``total`` that includes
norms and pooling, and is what the tests hold ``count`` against.
"""

import copy
import functools
import re
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from convnext_lessons.model.architecture import Architecture
from convnext_lessons.model.network import build
from convnext_lessons.system.errors import CourseError

# What can be counted: an architecture, a network, or a function without arguments that makes one, such as
# ``torchvision.models.swin_t``.
Model = Architecture | nn.Module | Callable[[], nn.Module]

MULTIPLY_ADDS = ("conv", "linear", "matmul")  # fvcore's names for what networks are compared by


class CostError(CourseError, ValueError):
    """A cost that cannot be shown."""


@dataclass(frozen=True)
class CostKind:
    """One of the costs that every plot, table, prediction and benchmark shows.

    Attributes:
        key: the attribute of ``Layer`` and of ``Cost``.
        title: what it is called.
        unit: how much of it is one unit.
        unit_name: what stands beside a number of units.
        symbol: of the unit, behind a number written with its prefix (12 MB).

    Raises:
        CostError: it has no unit.
    """

    key: str
    title: str
    unit: float
    unit_name: str
    symbol: str = ""

    def __post_init__(self):
        if not self.unit or not self.unit_name:
            raise CostError(f"The cost '{self.title}' has no unit; give it a unit and a unit_name, such as 1e6 and MB.")

    def of(self, cost: "Cost | Layer") -> int:
        """How much of it a network or a layer costs.

        Raises:
            CostError: nobody counts it.
        """
        return _amount(cost, self.key)


# Every plot, table, prediction and benchmark goes over this list. Another cost is a property of ``Layer``, its sum in
# ``Cost``, and a line here.
COSTS = (
    CostKind("macs", "multiply-adds", 1e9, "× 10⁹"),
    CostKind("params", "parameters", 1e6, "× 10⁶"),
    CostKind("activation_bytes", "activation memory, training", 1e6, "MB", "B"),
)


@dataclass(frozen=True)
class Layer:
    """The cost of one module, its children left out.

    Attributes:
        name: dotted, inside the network.
        stage: ``"stem"``, ``"stage 1"`` … or ``"head"``.
        kind: the module's class.
        shape_in, shape_out: without the batch, such as (96, 56, 56).
        macs: multiply-adds of convolutions, linear layers and matrix products.
        params: parameters.
        activation_bytes: float32 bytes that it is the first to keep for the backward pass.
    """

    name: str
    stage: str
    kind: str
    shape_in: tuple
    shape_out: tuple
    macs: int
    params: int
    activation_bytes: int


@dataclass(frozen=True)
class Cost:
    """The cost of a network on one picture of ``image_size`` pixels, layer by layer."""

    image_size: int
    layers: tuple[Layer, ...]
    _model: Model = field(repr=False, compare=False)

    @property
    def macs(self) -> int:
        """Multiply-adds of convolutions, linear layers and matrix products."""
        return self._sum("macs")

    @property
    def params(self) -> int:
        """Parameters."""
        return self._sum("params")

    @property
    def activation_bytes(self) -> int:
        """Bytes kept for the backward pass, float32."""
        return self._sum("activation_bytes")

    @functools.cached_property
    def total(self) -> int:
        """All that fvcore counts: norms and pooling too."""
        return sum(count_with_fvcore(self._model, self.image_size).values())

    def by_stage(self, key: str) -> dict[str, int]:
        """One of the sums above for each stage, in order: ``{"stem": …, "stage 1": …, …, "head": …}``.

        Raises:
            CostError: there is no such sum.
        """
        sums = defaultdict(int)
        for layer in self.layers:
            sums[layer.stage] += _amount(layer, key)
        return dict(sums)

    def _sum(self, key):
        return sum(getattr(layer, key) for layer in self.layers)


def _amount(cost, key):
    if not hasattr(cost, key):
        raise CostError(f"Nobody counts the cost '{key}'; give Layer and Cost a property of that name.")
    return getattr(cost, key)


def count(model: Model, image_size: int = 224) -> Cost:
    """Count everything on a picture of ``image_size`` pixels, in about 0.1 s; an architecture is counted once.

    Args:
        model: an ``Architecture``, a network, or a function without arguments that makes one
            (``torchvision.models.swin_t``).

    Raises:
        CostError: it is none of these, or the picture has no size.
    """
    if not isinstance(image_size, int) or image_size < 1:
        raise CostError(f"image_size is {image_size!r}; say a whole number of pixels of at least 1.")
    return (_count_once if isinstance(model, Architecture) else _count)(model, image_size)


def count_with_fvcore(model: Model, image_size: int = 224) -> dict[str, int]:
    """fvcore's count of a forward pass by operator, such as ``{"conv": …, "linear": …, "batch_norm": …}``.

    The multiply-adds that networks are compared by are those of ``MULTIPLY_ADDS``.
    """
    network = make_network_of(model).cpu().eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # fvcore's import and its tracing warn about torch.jit
        from fvcore.nn import FlopCountAnalysis

        analysis = FlopCountAnalysis(network, torch.zeros(1, 3, image_size, image_size))
        analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
        return dict(analysis.by_operator())


def _count(model, image_size):
    with torch.device("meta"):
        network = make_network_of(model).to("meta")
    layers = _layers(network, *_walk(network, image_size))
    return Cost(image_size, layers, copy.deepcopy(model))  # as it is now: a network may be changed later


_count_once = functools.lru_cache(maxsize=1024)(_count)


def stage_of(name: str) -> str:
    """The part of a network that a module's dotted name belongs to, ours or torchvision's ResNet, ConvNeXt or Swin."""
    part, _, rest = name.partition(".")
    index = re.match(r"\d+", rest)
    if part in ("stages", "transitions") and index:
        return f"stage {int(index[0]) + 1}"
    if part == "features" and index:  # torchvision's list: stem, stage, transition, stage, transition, …
        return "stem" if index[0] == "0" else f"stage {int(index[0]) // 2 + 1}"
    if part.startswith("layer"):
        return f"stage {part.removeprefix('layer')}"
    return "stem" if part in ("stem", "conv1", "bn1") else "head"


def make_network_of(model: Model) -> nn.Module:
    """A network that may be run and changed: a copy of the one that is given.

    Raises:
        CostError: it is no architecture, network or function that makes one.
    """
    if isinstance(model, nn.Module):
        return copy.deepcopy(model)
    made = build(model) if isinstance(model, Architecture) else model() if callable(model) else None
    if not isinstance(made, nn.Module):
        raise CostError(f"{model!r} is no network; give an architecture, a network, or a function that makes one.")
    return made


def _walk(network, image_size):
    """One training step's forward pass on tensors without content.

    Returns:
        Three dictionaries by module name: shapes in and out, multiply-adds (children included), bytes kept for the
        backward pass by the module that kept them first.
    """
    network.train()
    pictures = torch.empty(2, 3, image_size, image_size, device="meta")  # BatchNorm refuses to train on one value
    known = {tensor.untyped_storage()._cdata for tensor in (*network.parameters(), *network.buffers())}
    kept, inside = defaultdict(int), []

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage._cdata not in known:  # tensors without content have no address but that of their storage
            known.add(storage._cdata)
            kept[inside[-1]] += storage.nbytes() // len(pictures)
        return tensor

    counter = FlopCounterMode(display=False)
    saved = torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor)
    with _visited(network, inside) as shapes, counter, saved:
        output = network(pictures)
    del output  # until here it kept every saved tensor alive, so that no storage took another's place
    root = type(network).__name__
    macs = {}
    for name, counts in counter.get_flop_counts().items():
        if name == root or name.startswith(f"{root}."):
            # The counter counts a multiply-add as two.
            macs[name[len(root) + 1 :]] = sum(counts.values()) // 2 // len(pictures)
    return shapes, macs, kept


def _layers(network, shapes, macs, kept):
    """One ``Layer`` for every module that costs something by itself, in the order of the network.

    A module that never runs as such (a list of stages, a linear layer whose weights attention uses by itself) leaves
    what is its own to the module around it.
    """

    def runs(name):
        while name not in shapes:
            name = name.rpartition(".")[0]
        return name

    own, params, parents = defaultdict(int), defaultdict(int), set()
    for name, module in network.named_modules():
        params[runs(name)] += sum(parameter.numel() for parameter in module.parameters(recurse=False))
        if name in shapes:
            own[name] += macs.get(name, 0)
        if name and name in shapes:
            around = runs(name.rpartition(".")[0])
            own[around] -= macs.get(name, 0)
            parents.add(around)
    layers = []
    for name, module in network.named_modules():
        if name not in shapes:
            continue
        memory = kept.get(name, 0)
        if own[name] or params[name] or memory or name not in parents:
            kind = type(module).__name__
            layers.append(Layer(name, stage_of(name), kind, *shapes[name], own[name], params[name], memory))
    return tuple(layers)


@contextmanager
def hooked(network: nn.Module, before: Callable, after: Callable) -> Iterator[None]:
    """Call ``before(name, module, inputs)`` and ``after(name, module, inputs, output)`` around every module."""
    handles = []
    for name, module in network.named_modules():
        handles.append(module.register_forward_pre_hook(functools.partial(before, name)))
        handles.append(module.register_forward_hook(functools.partial(after, name)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _visited(network, inside):
    """Record the shapes that go in and out of every module; ``inside`` holds the names of those that run at the
    time."""
    shapes = {}

    def before(name, module, inputs):
        inside.append(name)

    def after(name, module, inputs, output):
        inside.pop()
        shapes[name] = (tuple(inputs[0].shape[1:]), tuple(output.shape[1:]))

    with hooked(network, before, after):
        yield shapes
