"""How long a network takes on this machine: by layer, and beside another network, the two in turns."""

import functools
import math
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from convnext_lessons.model.architecture import Architecture
from convnext_lessons.model.cost import Model, hooked, make_network_of
from convnext_lessons.system.devices import choose_device, device_name, synchronize
from convnext_lessons.system.errors import CourseError
from convnext_lessons.system.settings import fast_mode

ROUNDS = 9  # in turns: the interval of nine leaves out the fastest and the slowest
LEAST_ROUNDS = 3
REPEATS = 5  # of the clocks around layers
BUSY = 1.5  # times the lowest ratio of an interval: where the highest lies beyond, other work ran beside


class TimingError(CourseError, ValueError):
    """A measurement of time that could not tell anything."""


@dataclass(frozen=True)
class TimeRatio:
    """How many times as long one network takes as another.

    Attributes:
        median: of the rounds' ratios.
        low, high: an interval around it that needs no assumption on how noise is distributed: for nine rounds the
            second smallest and the second largest, at 96 %; for up to eight the whole range.
        source: how it was measured, in words.
    """

    median: float
    low: float
    high: float
    source: str

    @classmethod
    def of(cls, ratios: Sequence[float], source: str) -> "TimeRatio":
        """The ratio of rounds that took turns.

        Raises:
            TimingError: they are too few.
        """
        if len(ratios) < LEAST_ROUNDS:
            raise TimingError(
                f"{len(ratios)} rounds cannot tell noise from a difference; measure at least {LEAST_ROUNDS}."
            )
        ordered, rounds = sorted(ratios), len(ratios)
        cut = 0  # from each end; the sign test says how often the median lies beyond
        while 2 * sum(math.comb(rounds, left) for left in range(cut + 2)) <= 0.05 * 2**rounds:
            cut += 1
        return cls(statistics.median(ordered), ordered[cut], ordered[rounds - 1 - cut], source)

    def over(self, other: "TimeRatio") -> "TimeRatio":
        """The ratio of two networks that were both held against the same third one."""
        return TimeRatio(self.median / other.median, self.low / other.high, self.high / other.low, self.source)

    @property
    def busy(self) -> bool:
        """Whether other work on the machine made the rounds too different to tell anything."""
        return self.high > BUSY * self.low

    def __str__(self):
        note = "; too much else runs on this machine, measure again" if self.busy else ""
        return f"× {self.median:.2f} ({self.low:.2f} to {self.high:.2f}{note})"


def time_layers(
    model: Model, image_size: int = 224, batch_size: int = 4, device: str | torch.device | None = None
) -> dict[str, float]:
    """Seconds that each module of a forward pass takes for one picture, by its name; what its children take is left
    out. Clocks around the modules take time themselves, so shares of the sum tell more than the sum. An architecture is
    timed once.

    Raises:
        DeviceError: the device is not there.
    """
    settings = (model, image_size, batch_size, choose_device(device))
    return (_time_once if isinstance(model, Architecture) else _time)(*settings)


def time_in_turns(first: Callable[[], object], second: Callable[[], object], rounds: int) -> list[float]:
    """Time two callables in turns; the ratios second / first, one a round, after one that warms up."""
    ratios = []
    for number in range(rounds + 1):
        seconds = {}
        for work in (first, second) if number % 2 else (second, first):
            start = time.perf_counter()
            work()
            seconds[work] = time.perf_counter() - start
        ratios.append(seconds[second] / seconds[first])
    return ratios[1:]


def compare_times(
    before: Model,
    after: Model,
    image_size: int = 224,
    batch_size: int = 2,
    rounds: int = ROUNDS,
    device: str | torch.device | None = None,
) -> TimeRatio:
    """How many times as long a training step (forward and backward) of ``after`` takes as one of ``before``, measured
    here and now, the two in turns; a pair of architectures is measured once.

    Raises:
        TimingError: there are too few rounds.
        DeviceError: the device is not there.
    """
    if rounds < LEAST_ROUNDS:
        raise TimingError(f"{rounds} rounds cannot tell noise from a difference; measure at least {LEAST_ROUNDS}.")
    rounds = LEAST_ROUNDS if fast_mode() else rounds
    architectures = isinstance(before, Architecture) and isinstance(after, Architecture)
    settings = (before, after, image_size, batch_size, rounds, choose_device(device))
    return (_compare_once if architectures else _compare)(*settings)


def _compare(before, after, image_size, batch_size, rounds, device):
    workers = [make_worker(model, image_size, batch_size, True, device) for model in (before, after)]
    source = f"{device_name(device)}, {torch.get_num_threads()} threads, {rounds} rounds in turns"
    return TimeRatio.of(time_in_turns(*workers, rounds), source)


def make_worker(
    model: Model, image_size: int, batch_size: int, training: bool, device: torch.device
) -> Callable[[], None]:
    """A callable that runs a network once on drawn pictures, forward, and in training backward too, and waits for the
    device."""
    network = make_network_of(model).to(device, memory_format=torch.channels_last).train(training)
    pictures = torch.randn(batch_size, 3, image_size, image_size, device=device)
    pictures = pictures.contiguous(memory_format=torch.channels_last)

    def once():
        with torch.set_grad_enabled(training):
            output = network(pictures)
            if training:
                output.sum().backward()
        synchronize(device)

    return once


def _time(model, image_size, batch_size, device):
    network = make_network_of(model).to(device, memory_format=torch.channels_last).eval()
    pictures = torch.randn(batch_size, 3, image_size, image_size, device=device)
    pictures = pictures.contiguous(memory_format=torch.channels_last)
    samples = defaultdict(list)
    for _ in range(1 if fast_mode() else REPEATS):
        with _clocks(network, device) as clocks, torch.no_grad():
            network(pictures)
        for name, value in clocks.items():
            samples[name].append(value / batch_size)
    return {name: min(values) for name, values in samples.items()}  # noise only adds time


_time_once = functools.lru_cache(maxsize=1024)(_time)
_compare_once = functools.lru_cache(maxsize=1024)(_compare)


@contextmanager
def _clocks(network, device):
    """Seconds that each module runs by itself, its children left out and its queued work waited for."""
    seconds, running = defaultdict(float), []

    def before(name, module, inputs):
        synchronize(device)
        running.append([time.perf_counter(), 0.0])  # when it began, what its children took

    def after(name, module, inputs, output):
        synchronize(device)
        began, children = running.pop()
        whole = time.perf_counter() - began
        seconds[name] += whole - children
        if running:
            running[-1][1] += whole

    with hooked(network, before, after):
        yield seconds
