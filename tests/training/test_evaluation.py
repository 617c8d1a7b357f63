import pytest
import torch

from convnext_lessons.data import stand_in, validation_batches
from convnext_lessons.model import RESNET50, build
from convnext_lessons.training import evaluate
from convnext_lessons.training.evaluation import evaluate_together

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def images():
    return stand_in(32, train_count=8, val_count=40)


@pytest.mark.parametrize("training", [True, False])
def test_evaluate_leaves_the_network_as_it_was(images, training):
    network = build(RESNET50.thinner(1 / 16), 10).train(training)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    evaluate(network, validation_batches(images), CPU)
    assert network.training is training
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


class Oracle(torch.nn.Module):
    """Says class 3 first and classes 4, 5, … after it, whatever it sees."""

    def forward(self, x):
        return (torch.arange(10) - 3).remainder(10).neg().float().expand(len(x), 10)


def test_the_scores_are_counted_by_hand(images):
    scores = evaluate(Oracle(), validation_batches(images), CPU)
    assert scores.accuracy == (images.val_labels == 3).double().mean()
    assert scores.top5 == ((images.val_labels >= 3) & (images.val_labels < 8)).double().mean()
    places = (images.val_labels - 3).remainder(10).double()
    normalizer = torch.arange(10, dtype=torch.double).neg().exp().sum().log()
    assert scores.loss == pytest.approx((places + normalizer).mean().item(), rel=1e-6)


def test_with_few_classes_the_first_five_always_hold_the_right_one():
    two = build(RESNET50.thinner(1 / 16), 2)
    assert evaluate(two, [(torch.randn(3, 3, 32, 32), torch.tensor([0, 1, 1]))], CPU).top5 == 1


def test_networks_together_have_the_scores_that_each_has_alone(images):
    torch.manual_seed(0)
    networks = [build(RESNET50.thinner(1 / 16), 10) for _ in range(2)]
    alone = [evaluate(network, validation_batches(images), CPU) for network in networks]
    assert evaluate_together(networks, validation_batches(images), CPU) == alone
    assert alone[0] != alone[1]


def test_a_number_format_is_the_forward_passes(images):
    seen = []

    class Network(torch.nn.Linear):
        def forward(self, x):
            seen.append(super().forward(x.mean((2, 3))).dtype)
            return super().forward(x.mean((2, 3)))

    evaluate(Network(3, 10), validation_batches(images), CPU)
    evaluate(Network(3, 10), validation_batches(images), CPU, precision=torch.bfloat16)
    assert set(seen) == {torch.float32, torch.bfloat16}
