import functools

import pytest
import timm.optim.muon
import torch
from torch import nn

from convnext_lessons.model import LAST_STEP, architecture_after, build
from convnext_lessons.runs import POCKET
from convnext_lessons.runs.muon import Muon, orthogonalize

SHAPES = ((16, 8, 3, 3), (16, 8, 3, 3), (8, 24, 1, 1), (40, 8))
MUON = POCKET.change(name="test", algorithm="muon", muon_rate=0.03, muon_momentum=0.9)


def thin(step):
    return build(architecture_after(step).thinner(1 / 16).change(depths=(1, 2)), num_classes=10)


def trained(make_optimizer, steps=4):
    """Parameters after some steps along drawn gradients."""
    torch.manual_seed(0)
    parameters = [nn.Parameter(torch.randn(shape)) for shape in (*SHAPES, (5,))]
    optimizer = make_optimizer(parameters[:-1], parameters[-1:])
    for _ in range(steps):
        for parameter in parameters:
            parameter.grad = torch.randn_like(parameter)
        optimizer.step()
    return parameters


def ours(matrices, others):
    muon = {"params": matrices, "muon": True, "momentum": 0.9, "lr": 0.03, "weight_decay": 0.2}
    return Muon([muon, {"params": others, "muon": False}], lr=2e-3, betas=(0.9, 0.99))


def test_it_moves_as_timms_does_in_the_same_number_format(monkeypatch):
    def theirs(matrices, others):
        muon = {"params": matrices, "lr": 0.03, "weight_decay": 0.2, "nesterov": True}
        settings = {"momentum": 0.9, "betas": (0.9, 0.99), "adjust_lr_fn": "original", "ns_coefficients": "original"}
        return timm.optim.muon.Muon([muon, {"params": others, "use_fallback": True, "lr": 2e-3}], **settings)

    exact = functools.partial(timm.optim.muon.zeropower_via_newtonschulz, dtype=torch.float32)
    monkeypatch.setattr(timm.optim.muon, "zeropower_via_newtonschulz", exact)
    for mine, other in zip(trained(ours), trained(theirs), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shape", [(3, 8, 24), (2, 24, 8), (1, 6, 6)])
def test_orthogonalized_matrices_keep_their_singular_vectors(shape):
    torch.manual_seed(1)
    matrices = torch.randn(shape, dtype=torch.float64)
    result = orthogonalize(matrices)
    assert ((torch.linalg.svdvals(result) > 0.6) & (torch.linalg.svdvals(result) < 1.25)).all()
    left, _, right = torch.linalg.svd(matrices, full_matrices=False)
    inside = left.mT @ result @ right.mT
    torch.testing.assert_close(inside, torch.diag_embed(inside.diagonal(dim1=1, dim2=2)), rtol=0, atol=1e-9)


def test_a_gradient_of_zeros_moves_nothing():
    assert torch.equal(orthogonalize(torch.zeros(1, 4, 8)), torch.zeros(1, 4, 8))


def test_parameters_without_gradient_stay():
    parameters = [nn.Parameter(torch.ones(4, 4)), nn.Parameter(torch.ones(4))]
    before = [parameter.clone() for parameter in parameters]
    ours(parameters[:1], parameters[1:]).step()
    assert all(map(torch.equal, parameters, before))


def test_a_saved_state_goes_on_the_same_way():
    def stopped(matrices, others):
        optimizer = ours(matrices, others)
        step = optimizer.step

        def step_after_reloading():
            state = optimizer.state_dict()
            again = ours(matrices, others)
            again.load_state_dict(state)
            optimizer.state = again.state
            step()

        optimizer.step = step_after_reloading
        return optimizer

    assert all(map(torch.equal, trained(ours), trained(stopped)))


@pytest.mark.parametrize("step", [0, 3, 8, LAST_STEP])
def test_a_recipe_gives_it_all_weights_but_depthwise_ones(step):
    network = thin(step)
    muon, weights, others = MUON.make_optimizer(network).param_groups
    assert (muon["muon"], weights["muon"], others["muon"]) == (True, False, False)
    assert (muon["momentum"], muon["weight_decay"], weights["weight_decay"], others["weight_decay"]) == (
        0.9,
        0.2,
        0.2,
        0.0,
    )
    sizes = [sum(each.numel() for each in group["params"]) for group in (muon, weights, others)]
    depthwise = [each for each in network.modules() if isinstance(each, nn.Conv2d) and each.groups > 1]
    assert sizes[1] == sum(each.weight.numel() for each in depthwise)
    assert sum(sizes) == sum(each.numel() for each in network.parameters())
    assert all(each.ndim in (2, 4) for each in muon["params"])
    assert all(each.ndim in (1, 3) for each in others["params"])


def test_its_rate_is_the_recipes():
    muon, weights, _ = MUON.make_optimizer(thin(3)).param_groups
    assert muon["rate_factor"] * MUON.learning_rate == pytest.approx(0.03)
    assert weights.get("rate_factor", 1.0) * MUON.learning_rate == POCKET.learning_rate
