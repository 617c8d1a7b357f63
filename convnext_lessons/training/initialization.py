"""The first weights of a run, by the scheme that its recipe names."""

from torch import nn

from convnext_lessons.model.network import initialize
from convnext_lessons.runs.recipe import Recipe


def draw_weights(network: nn.Module, recipe: Recipe) -> None:
    """Draw new convolution and linear weights in place; their biases become 0.

    ``"lecun_normal"`` has a variance of one over a weight's inputs. ``"scaled_normal"`` is the paper's standard
    deviation of 0.02 for a network of full width: a copy with a share of its channels sums over that share of inputs,
    and has 0.02 over the root of the share. The other schemes are those of ``network.initialize``.
    """
    if recipe.initialization not in ("lecun_normal", "scaled_normal"):
        return initialize(network, recipe.initialization)
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            std = 0.02 / recipe.width_factor**0.5
            if recipe.initialization == "lecun_normal":
                std = module.weight[0].numel() ** -0.5
            nn.init.trunc_normal_(module.weight, std=std, a=-3 * std, b=3 * std)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return None
