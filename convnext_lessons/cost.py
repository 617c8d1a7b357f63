"""What a network costs: multiply-adds, parameters, activation memory and measured time, by layer and by stage.

One multiply-add counts as 1, and a cost is always that of one picture. ``measure`` counts with fvcore on real tensors;
``sketch`` counts the same multiply-adds with torch's own counter on tensors without content, fast enough for a slider.
"""

import copy
import functools
import inspect
import re
import time
import warnings
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from convnext_lessons.architecture import Architecture
from convnext_lessons.machine import device as choose_device
from convnext_lessons.machine import device_name, fast_mode, wait_for
from convnext_lessons.network import build

MULTIPLY_ADDS = ("conv", "linear", "matmul")  # fvcore's names for what networks are compared by


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
    """The cost of a network on one picture; ``total`` is all that fvcore counts, norms and pooling included."""

    image_size: int
    layers: tuple
    total: int | None = None

    @property
    def macs(self):
        """Multiply-adds of convolutions, linear layers and matrix products."""
        return sum(layer.macs for layer in self.layers)

    @property
    def params(self):
        """Parameters."""
        return sum(layer.params for layer in self.layers)

    @property
    def activation_bytes(self):
        """Bytes kept for the backward pass, float32."""
        return sum(layer.activation_bytes for layer in self.layers)

    def by_stage(self, what):
        """One of the sums above for each stage, in order: ``{"stem": …, "stage 1": …, …, "head": …}``."""
        sums = defaultdict(int)
        for layer in self.layers:
            sums[layer.stage] += getattr(layer, what)
        return dict(sums)


@dataclass(frozen=True)
class Latency:
    """Measured seconds of one picture's share of a batch: the fastest of some repetitions, since whatever else a
    machine does only adds to them, and the shares of the stages.

    Attributes:
        seconds: for the forward pass, or for forward and backward in training.
        stages: the forward pass by stage, in the proportions of ``layers``; without training they add up to
            ``seconds``.
        layers: seconds by module name from clocks around the modules, which take time themselves; what a module's
            children take is left out.
        device, threads, batch_size, training: how it was measured.
    """

    seconds: float
    stages: dict
    layers: dict
    device: str
    threads: int
    batch_size: int
    training: bool


def remembered(function):
    """Keep the answers for architectures and for functions that make networks; a network itself may have changed."""
    cached = functools.lru_cache(maxsize=1024)(function)
    signature = inspect.signature(function)

    @functools.wraps(function)
    def ask(*settings, **named):
        # The same question has one answer, however it is put.
        asked = signature.bind(*settings, **named)
        asked.apply_defaults()
        return (function if isinstance(asked.args[0], nn.Module) else cached)(*asked.args)

    return ask


@remembered
def measure(what, image_size=224):
    """Count everything on a picture of ``image_size`` pixels.

    Args:
        what: an ``Architecture``, a network, or a function without arguments that makes one
            (``torchvision.models.swin_t``).
    """
    network = _module(what).cpu()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # fvcore's import and its tracing warn about torch.jit
        from fvcore.nn import FlopCountAnalysis

        analysis = FlopCountAnalysis(network.eval(), torch.zeros(1, 3, image_size, image_size))
        analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
        counts = analysis.by_module_and_operator()
        total = analysis.total()
    macs = {name: sum(ops[op] for op in MULTIPLY_ADDS if op in ops) for name, ops in counts.items()}
    shapes, _, kept = _walk(network, image_size)
    return Cost(image_size, _layers(network, shapes, macs, kept), total)


@remembered
def sketch(what, image_size=224):
    """Count the same but for ``total``, in a tenth of the time."""
    with torch.device("meta"):
        network = _module(what)
    return Cost(image_size, _layers(network, *_walk(network, image_size)))


@remembered
def latency(what, image_size=224, batch_size=4, training=False, device=None):
    """Measure time on this machine, after one run that warms up.

    Returns:
        A ``Latency``, in seconds for one picture.

    Raises:
        DeviceError: the device is not there.
    """
    repeats = 1 if fast_mode() else 5
    device = choose_device(device)
    network = _module(what).to(device, memory_format=torch.channels_last).train(training)
    pictures = torch.randn(batch_size, 3, image_size, image_size, device=device)
    pictures = pictures.contiguous(memory_format=torch.channels_last)

    def once():
        start = time.perf_counter()
        with torch.set_grad_enabled(training):
            output = network(pictures)
            if training:
                output.sum().backward()
        wait_for(device)
        return (time.perf_counter() - start) / batch_size

    once()
    seconds = min(once() for _ in range(repeats))

    samples = defaultdict(list)
    for _ in range(repeats):
        with _clocks(network, device) as spent, torch.no_grad():
            network(pictures)
        for name, value in spent.items():
            samples[name].append(value / batch_size)
    layers = {name: min(values) for name, values in samples.items()}
    share = 1.0 if training else seconds / sum(layers.values())
    stages = defaultdict(float)
    for name, value in layers.items():
        stages[stage_of(name)] += share * value
    threads = torch.get_num_threads()
    return Latency(seconds, dict(stages), layers, device_name(device), threads, batch_size, training)


def stage_of(name):
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


def _module(what):
    """A network that may be run and changed: a copy of the one that is given."""
    if isinstance(what, nn.Module):
        return copy.deepcopy(what)
    return build(what) if isinstance(what, Architecture) else what()


def _walk(network, image_size):
    """One training step's forward pass on tensors without content.

    Returns:
        Three dictionaries by module name: shapes in and out, multiply-adds (children included), bytes kept for the
        backward pass by the module that kept them first.
    """
    network = network.to("meta").train()
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
def _hooked(network, before, after):
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

    with _hooked(network, before, after):
        yield shapes


@contextmanager
def _clocks(network, device):
    """Seconds that each module runs by itself, its children left out and its queued work waited for."""
    spent, running = defaultdict(float), []

    def before(name, module, inputs):
        wait_for(device)
        running.append([time.perf_counter(), 0.0])  # when it began, what its children took

    def after(name, module, inputs, output):
        wait_for(device)
        began, children = running.pop()
        whole = time.perf_counter() - began
        spent[name] += whole - children
        if running:
            running[-1][1] += whole

    with _hooked(network, before, after):
        yield spent
