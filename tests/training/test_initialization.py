import pytest
import torch
from torch import nn

from convnext_lessons.model import LAST_STEP, architecture_after, build
from convnext_lessons.runs import POCKET
from convnext_lessons.training.initialization import draw_weights


@pytest.mark.parametrize("step", [0, LAST_STEP])
@pytest.mark.parametrize(
    ("scheme", "expected"),
    [
        ("truncated_normal", lambda weight: 0.02),
        ("scaled_normal", lambda weight: 0.04),
        ("lecun_normal", lambda weight: weight[0].numel() ** -0.5),
        ("fan_in", lambda weight: (2 / weight[0].numel()) ** 0.5),
    ],
)
def test_first_weights_have_the_schemes_spread(scheme, step, expected):
    network = build(architecture_after(step).thinner(POCKET.width_factor), num_classes=10)
    torch.manual_seed(0)
    draw_weights(network, POCKET.change(initialization=scheme))
    layers = [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    for module in layers:
        assert module.bias is None or not module.bias.any()
        if module.weight.numel() > 5000:
            # Cut off at three deviations, a normal has 1.4 % less spread.
            assert module.weight.std().item() == pytest.approx(expected(module.weight), rel=0.05)


def test_the_seed_decides():
    draws = []
    for seed in (0, 0, 1):
        network = build(architecture_after(8).thinner(1 / 16), num_classes=10)
        torch.manual_seed(seed)
        draw_weights(network, POCKET.change(initialization="lecun_normal"))
        draws.append(network.head[-1].weight)
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
