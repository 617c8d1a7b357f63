import functools

import pytest
import torch
from torch import nn
from torchvision.models.convnext import CNBlockConfig, ConvNeXt

from convnext_lessons.classroom import check_layers
from convnext_lessons.model import architecture_after, build

WIDTHS = (12, 24, 48, 96)
PICTURES = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@functools.cache
def theirs():
    """torchvision's class, an eighth as wide and of one block a stage, with weights that all matter."""
    settings = [CNBlockConfig(width, after, 1) for width, after in zip(WIDTHS, (*WIDTHS[1:], None), strict=True)]
    network = ConvNeXt(settings, num_classes=10).eval()
    torch.manual_seed(0)
    for parameter in network.parameters():
        parameter.data = torch.randn_like(parameter) * (parameter[0].numel() ** -0.5 if parameter.ndim > 1 else 1)
    return network


def shared(**changes):
    arch = architecture_after(11).change(depths=(1, 1, 1, 1), width=12, **changes)
    return build(arch, num_classes=10)


class Block(nn.Module):
    """Channels last, linear layers, the scale registered before the layers that it comes after."""

    def __init__(self, dim):
        super().__init__()
        self.scale = nn.Parameter(torch.full((dim,), 1e-6))
        self.widen, self.narrow = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)
        self.look, self.norm = nn.Conv2d(dim, dim, 7, padding=3, groups=dim), nn.LayerNorm(dim, eps=1e-6)
        self.add = True

    def forward(self, x):
        y = self.norm(self.look(x).permute(0, 2, 3, 1))
        y = (self.scale * self.narrow(nn.functional.gelu(self.widen(y)))).permute(0, 3, 1, 2)
        return x + y if self.add else y


class ChannelNorm(nn.LayerNorm):
    def forward(self, x):
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Own(nn.Module):
    """The head first, the downsampling layers in a list of their own, as many write it."""

    def __init__(self):
        super().__init__()
        self.head, self.norm = nn.Linear(WIDTHS[-1], 10), nn.LayerNorm(WIDTHS[-1], eps=1e-6)
        self.stem = nn.Sequential(nn.Conv2d(3, WIDTHS[0], 4, stride=4), ChannelNorm(WIDTHS[0], eps=1e-6))
        self.downs = nn.ModuleList(
            nn.Sequential(ChannelNorm(width, eps=1e-6), nn.Conv2d(width, 2 * width, 2, stride=2))
            for width in WIDTHS[:-1]
        )
        self.blocks = nn.ModuleList(map(Block, WIDTHS))

    def forward(self, x):
        x = self.blocks[0](self.stem(x))
        for down, block in zip(self.downs, self.blocks[1:], strict=True):
            x = block(down(x))
        return self.head(self.norm(x.mean((2, 3))))


@pytest.mark.parametrize("make", [shared, Own])
def test_a_right_network_passes_and_keeps_the_weights(make):
    yours = make().eval()
    answer = check_layers(yours, theirs(), PICTURES)
    assert answer.startswith("Well done") and f"{2 + 4 * 4 + 3 * 2 + 2} layers" in answer
    with torch.no_grad():
        assert torch.allclose(yours(PICTURES), theirs()(PICTURES), atol=1e-4)


def broken(change):
    network = Own()
    change(network)
    return network


@pytest.mark.parametrize(
    ("yours", "words"),
    [
        (None, "Still to do"),
        (3, "of type int"),
        (nn.Linear(3, 4), "it does not run"),
        (shared(kernel_size=5), "residual.0.weight [12, 1, 5, 5], where torchvision has features.1.0.block.0.weight"),
        (shared(layer_scale=False), "is a layer missing"),
        (broken(lambda network: setattr(network.blocks[1], "add", False)), "up to blocks.1.narrow (Linear)"),
        (broken(lambda network: setattr(network.blocks[2].norm, "eps", 0.1)), "blocks.2.norm (LayerNorm) is the first"),
        (broken(lambda network: setattr(network.blocks[2].look, "padding", (0, 0))), "it does not run"),
        (
            broken(lambda network: setattr(network, "head", nn.Sequential(network.head, nn.ReLU()))),
            "the outputs differ; all is equal up to head.0 (Linear)",
        ),
        (
            broken(lambda network: setattr(network, "stem", nn.Sequential(nn.ReLU(), *network.stem))),
            "stem.1 (Conv2d) gets another input than torchvision's features.0.0; look at what your network does",
        ),
        (broken(lambda network: setattr(network, "head", nn.Linear(96, 10, bias=False))), "no counterpart"),
    ],
)
def test_the_first_layer_that_differs_is_named(yours, words):
    answer = check_layers(yours, theirs(), PICTURES)
    assert words in answer and "\n" not in answer and answer.endswith(".")
    assert answer.startswith(("Still to do", "Not yet"))


def test_weights_that_do_not_fit_leave_the_network_as_it_was():
    yours = shared(layer_scale=False)
    before = {name: value.clone() for name, value in yours.state_dict().items()}
    check_layers(yours, theirs(), PICTURES)
    assert all(torch.equal(value, before[name]) for name, value in yours.state_dict().items())


def test_a_norm_of_ones_own_is_no_obstacle():
    class ByHand(nn.Module):
        def __init__(self, norm):
            super().__init__()
            self.weight, self.bias = norm.weight, norm.bias

        def forward(self, x):
            return nn.functional.layer_norm(x, x.shape[-1:], self.weight, self.bias, 1e-6)

    yours = broken(lambda network: setattr(network, "norm", ByHand(network.norm)))
    assert f"{2 + 4 * 4 + 3 * 2 + 1} layers" in check_layers(yours, theirs(), PICTURES)


def test_the_course_s_own_network_is_not_called_torchvision():
    assert check_layers(Own(), shared(), PICTURES).startswith("Well done: with the other network's weights")
    assert "the other network has stages.0.0.residual.0.weight" in check_layers(Own(), shared(kernel_size=5), PICTURES)
