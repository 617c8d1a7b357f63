"""Muon (Jordan et al. 2024): momentum, made orthogonal, for weights that are matrices; AdamW for all others."""

from collections.abc import Callable, Iterable

import torch
from torch import nn

# By which five iterations bring a matrix near the closest orthogonal one: those of Jordan's code, chosen for speed;
# they leave singular values between 0.7 and 1.2.
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
ITERATIONS = 5


class Muon(torch.optim.AdamW):
    """An optimizer of two kinds of parameter groups: ``"muon"`` is True or False in each.

    A convolution's weight counts as a matrix of [out, in · height · width]. timm's Muon does the same (a test holds the
    two side by side) and always computes in bfloat16, for which many laptops have no fast instructions; this one keeps
    the weights' own format, and takes all matrices of a shape at a time.

    Args:
        groups: of parameters; a Muon group's ``"momentum"`` is from 0 to below 1.
        lr, betas, weight_decay: as in ``AdamW``; each group may have its own.
    """

    def __init__(self, groups: Iterable[dict], lr: float, betas: tuple[float, float], weight_decay: float = 0.0):
        super().__init__(groups, lr=lr, betas=betas, weight_decay=weight_decay)

    @torch.no_grad()
    def step(self, closure: Callable[[], torch.Tensor] | None = None) -> torch.Tensor | None:
        """Change all parameters that have a gradient."""
        groups = self.param_groups
        self.param_groups = [group for group in groups if not group["muon"]]
        try:
            loss = super().step(closure)
        finally:
            self.param_groups = groups
        for group in groups:
            if group["muon"]:
                self._step_matrices(group)
        return loss

    def _step_matrices(self, group):
        by_shape = {}
        for weight in group["params"]:
            if weight.grad is not None:
                update = self._average(weight, group["momentum"]).flatten(1)
                by_shape.setdefault(update.shape, []).append((weight, update))
        for (rows, columns), members in by_shape.items():
            weights, updates = zip(*members, strict=True)
            updates = orthogonalize(torch.stack(updates))
            rate = group["lr"] * max(1, rows / columns) ** 0.5
            for weight, update in zip(weights, updates, strict=True):
                weight.mul_(1 - group["lr"] * group["weight_decay"])
                weight.sub_(update.view(weight.shape), alpha=rate)

    def _average(self, weight, momentum):
        """Nesterov's momentum: the moving average of the gradients, as it would be after the same gradient again."""
        state = self.state[weight]
        if not state:
            state["step"] = torch.zeros(())  # AdamW looks for one in every state that it loads
            state["momentum"] = torch.zeros_like(weight)
        return weight.grad.lerp(state["momentum"].lerp_(weight.grad, 1 - momentum), momentum)


def orthogonalize(matrices: torch.Tensor) -> torch.Tensor:
    """[N, rows, columns] → the same shape: each matrix with its singular values near 1, its singular vectors kept."""
    a, b, c = NEWTON_SCHULZ
    x = matrices.mT if matrices.shape[1] > matrices.shape[2] else matrices
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    for _ in range(ITERATIONS):
        square = x @ x.mT
        x = a * x + (b * square + c * square @ square) @ x
    return x.mT if matrices.shape[1] > matrices.shape[2] else x


def takes_matrices(module: nn.Module) -> bool:
    """Whether Muon takes a module's weight: linear layers and convolutions but depthwise ones, whose channels share no
    matrix."""
    return isinstance(module, nn.Linear) or (isinstance(module, nn.Conv2d) and module.groups == 1)
