import pytest
import torch
from torch import nn

from convnext_lessons.classroom.exercises import check
from convnext_lessons.model.network import build
from convnext_lessons.model.roadmap import architecture_after

SHAPE = [2, 16, 6, 6]


def expected(step):
    return build(architecture_after(step).thinner(1 / 6)).stages[0][1].residual


def inverted(dim=16, inside=64, **changes):
    spatial = {"kernel_size": 7, "padding": 3, "groups": dim, "bias": False, **changes}
    return nn.Sequential(
        nn.Conv2d(dim, dim, **spatial),
        nn.BatchNorm2d(dim),
        nn.Conv2d(dim, inside, 1, bias=False),
        nn.BatchNorm2d(inside),
        nn.GELU(),
        nn.Conv2d(inside, dim, 1, bias=False),
        nn.BatchNorm2d(dim),
    )


class AsTheReleasedCode(nn.Module):
    """Step 11's block with channels last, linear layers and a parameter of its own, as many write it."""

    def __init__(self, dim=16, inside=64):
        super().__init__()
        self.scale = nn.Parameter(torch.full((dim,), 1e-6))
        self.depthwise = nn.Conv2d(dim, dim, 7, padding=3, groups=dim)
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.widen, self.narrow = nn.Linear(dim, inside), nn.Linear(inside, dim)

    def forward(self, x):
        x = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        return (self.scale * self.narrow(nn.functional.gelu(self.widen(x)))).permute(0, 3, 1, 2)


@pytest.mark.parametrize("step", [3, 4, 7, 9, 11])
def test_the_shared_module_passes_its_own_check(step):
    block = expected(step)
    assert check(block, expected(step), [2, block[0].in_channels, 6, 6]).startswith("Well done")


def test_another_way_to_write_the_same_passes():
    assert check(AsTheReleasedCode(), expected(11), SHAPE).startswith("Well done")
    assert check(inverted(), expected(8), SHAPE).startswith("Well done")


@pytest.mark.parametrize(
    ("yours", "words"),
    [
        (None, "Still to do"),
        (3, "of type int"),
        (inverted(groups=1), "layer 1 (Conv2d): groups is 1, expected 16"),
        (inverted(padding=0), "padding is 0, expected 3"),
        (inverted(kernel_size=5, padding=2), "kernel_size is 5, expected 7"),
        (inverted(bias=True), "has a bias, expected none"),
        (inverted(inside=32), "out_channels is 32, expected 64"),
        (inverted()[:-1], "6 layers, expected 7"),
        (nn.Sequential(*inverted()[:4], nn.ReLU(), *inverted()[5:]), "layer 5 is ReLU, expected GELU"),
        (nn.Sequential(*inverted(), nn.GELU()), "8 layers, expected 7"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(yours, words):
    answer = check(yours, expected(8), SHAPE)
    assert words in answer and "\n" not in answer and answer.endswith(".")
    assert answer.startswith(("Still to do", "Not yet"))


def test_a_narrow_linear_layer_is_named():
    assert "goes from 16 to 32, expected 16 to 64" in check(AsTheReleasedCode(inside=32), expected(11), SHAPE)


def test_right_layers_in_a_wrong_forward_are_found():
    class Forgetful(AsTheReleasedCode):
        def forward(self, x):
            return super().forward(x) + x

    assert check(Forgetful(), AsTheReleasedCode(), SHAPE).endswith("look at their order and at forward.")


def test_a_module_that_does_not_run_says_why():
    class Broken(AsTheReleasedCode):
        def forward(self, x):
            raise RuntimeError("no such thing\nand more")

    assert check(Broken(), AsTheReleasedCode(), SHAPE) == "Not yet: it does not run (no such thing)."


def test_nothing_of_the_learners_is_changed():
    mine, theirs = inverted(), expected(8)
    before = [[value.clone() for value in module.state_dict().values()] for module in (mine, theirs)]
    check(mine, theirs, SHAPE)
    for values, module in zip(before, (mine, theirs), strict=True):
        assert all(torch.equal(old, new) for old, new in zip(values, module.state_dict().values(), strict=True))
