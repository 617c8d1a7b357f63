"""What makes a step the same however its work is divided: BatchNorm's statistics and stochastic depth, for each local
batch as a whole."""

import torch
from torch import nn
from torchvision.ops import StochasticDepth

from convnext_lessons.system.distributed import Process


class RunningStatistics:
    """Moves BatchNorm's running statistics once a step, to the mean of what all local batches of all ranks would make
    of them; else they would depend on the order of the local batches, and on which rank's are kept.

    Args:
        count: local batches in a batch, of all ranks.
    """

    def __init__(self, network: nn.Module, process: Process, count: int):
        norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
        self.statistics = [buffer for norm in norms for buffer in (norm.running_mean, norm.running_var)]
        self.counters = [norm.num_batches_tracked for norm in norms]
        self.process, self.count = process, count
        self.needed = bool(norms) and count > 1  # a single local batch moves them by itself

    def begin(self) -> None:
        """Before the first local batch of a step."""
        if self.needed:
            self.before = [buffer.clone() for buffer in (*self.statistics, *self.counters)]
            self.sums = [torch.zeros_like(buffer) for buffer in self.statistics]

    def add(self) -> None:
        """After each local batch: note what it made of them, and go back."""
        if self.needed:
            torch._foreach_add_(self.sums, self.statistics)
            torch._foreach_copy_([*self.statistics, *self.counters], self.before)

    def end(self) -> None:
        """After the last local batch of a step."""
        if self.needed:
            total = torch.cat(self.sums)
            self.process.all_reduce_tensor(total)
            means = (total / self.count).split([len(buffer) for buffer in self.statistics])
            torch._foreach_copy_(self.statistics, means)
            torch._foreach_add_(self.counters, 1)


class SplitStochasticDepth(StochasticDepth):
    """Stochastic depth for a part of a local batch: it draws for the whole of it, so that every picture has the same
    luck in whatever part it comes.

    Attributes:
        first: where the part begins.
        count: pictures in the whole local batch.
    """

    first, count = 0, 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training or self.p == 0:
            return x
        kept = x.new_empty(self.count, 1, 1, 1).bernoulli_(1 - self.p).div_(1 - self.p)
        return x * kept[self.first : self.first + len(x)]


def split_stochastic_depth(network: nn.Module) -> list[SplitStochasticDepth]:
    """Put ``SplitStochasticDepth`` in the place of a network's stochastic depth; return all of it."""
    found = []
    for module in list(network.modules()):
        for name, child in module.named_children():
            if type(child) is StochasticDepth:
                found.append(SplitStochasticDepth(child.p, child.mode))
                setattr(module, name, found[-1])
    return found
