import pytest
import torch
from torch import nn

from convnext_lessons.classroom import check, check_value
from convnext_lessons.model import architecture_after, build

SHAPE = [2, 16, 6, 6]
VERDICTS = ("Still to do: ", "Not yet: ", "Well done: ")


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
        (inverted(dilation=2), "layer 1 (Conv2d): dilation is 2, expected 1."),
        (inverted(padding=6, dilation=2), "layer 1 (Conv2d): dilation is 2, expected 1."),
        (inverted(padding_mode="replicate"), "layer 1 (Conv2d): padding_mode is replicate, expected zeros."),
        (inverted(bias=True), "has a bias, expected none"),
        (inverted(inside=32), "out_channels is 32, expected 64"),
        (inverted()[:-1], "6 layers, expected 7"),
        (inverted()[:1], "1 layer, expected 7"),
        (nn.Sequential(*inverted()[:4], nn.ReLU(), *inverted()[5:]), "layer 5 is ReLU, expected GELU"),
        (
            nn.Sequential(*inverted()[:4], nn.GELU(approximate="tanh"), *inverted()[5:]),
            "layer 5 (GELU): approximate is tanh, expected none.",
        ),
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


class Answering(AsTheReleasedCode):
    """The right layers, and what a function makes of their output."""

    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    def forward(self, x):
        return self.answer(super().forward(x))


class Wordless(Exception):
    def __str__(self):
        raise RuntimeError("no words")


def raising(error):
    def answer(x):
        raise error

    return answer


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda x: None, "its forward returns nothing; is a return missing?"),
        (lambda x: (x, x), "its forward returns tuple, and should return a tensor."),
        (lambda x: [x], "its forward returns list, and should return a tensor."),
        (lambda x: 3, "its forward returns int, and should return a tensor."),
        (lambda x: x.detach().numpy(), "its forward returns ndarray, and should return a tensor."),
        (lambda x: x[:, :3], "its output is [2, 3, 6, 6], and should be [2, 16, 6, 6]."),
        (lambda x: x.sum(), "its output is [], and should be [2, 16, 6, 6]."),
        (lambda x: x > 0, "look at their order and at forward."),
        (lambda x: x.long(), "look at their order and at forward."),
        (lambda x: x * float("nan"), "look at their order and at forward."),
        (lambda x: x.to("meta"), "it does not run ("),
        (lambda x: x.to_sparse(), "it does not run ("),
        (raising(AssertionError()), "it does not run (AssertionError)."),
        (raising(NotImplementedError()), "it does not run (NotImplementedError)."),
        (raising(ValueError()), "it does not run (ValueError)."),
        (raising(RuntimeError("\nand more")), "it does not run (RuntimeError)."),
        (raising(Wordless()), "it does not run (Wordless)."),
        (raising(KeyError("x")), "it does not run ('x')."),
        (raising(SystemExit("bye")), "it does not run (bye)."),
        (raising(RuntimeError("word " * 100)), "word …)."),
    ],
)
def test_whatever_forward_does_the_answer_is_one_sentence(answer, words):
    said = check(Answering(answer), AsTheReleasedCode(), SHAPE)
    assert said.startswith("Not yet: ") and words in said
    assert "\n" not in said and said.endswith((".", "?"))


def test_a_single_precision_of_the_right_values_is_told_from_them():
    assert check(Answering(lambda x: x.float()), AsTheReleasedCode(), SHAPE).endswith("at forward.")
    assert check(AsTheReleasedCode().float(), AsTheReleasedCode(), SHAPE).startswith("Well done")
    assert check(AsTheReleasedCode().half(), AsTheReleasedCode(), SHAPE).startswith("Well done")


def test_a_module_without_its_base_says_so():
    class WithoutInit(nn.Module):
        def __init__(self):
            self.depthwise = nn.Conv2d(16, 16, 7, padding=3, groups=16)

    with pytest.raises(AttributeError, match="before Module"):
        WithoutInit()  # torch's own words; with layers it cannot be made

    class Bare(nn.Module):
        def __init__(self):
            self.dim = 16

    said = check(Bare(), AsTheReleasedCode(), SHAPE)
    assert said.startswith("Not yet: it does not run (") and "\n" not in said and said.endswith(".")


def test_nothing_of_the_learners_is_changed():
    mine, theirs = inverted(), expected(8)
    before = [[value.clone() for value in module.state_dict().values()] for module in (mine, theirs)]
    check(mine, theirs, SHAPE)
    for values, module in zip(before, (mine, theirs), strict=True):
        assert all(torch.equal(old, new) for old, new in zip(values, module.state_dict().values(), strict=True))


# Values ---------------------------------------------------------------------------------------------------------------


def test_a_value_that_is_still_to_come():
    assert check_value(None, 3) == "Still to do: replace None."
    assert check_value(None, lambda value: value.missing) == "Still to do: replace None."


@pytest.mark.parametrize(
    ("yours", "expected"),
    [
        (3, 3),
        (3.0, 3),
        (4, 4.0),
        (-0.5, -0.5),
        ((3, 3, 9, 3), (3, 3, 9, 3)),
        ((), ()),
        (("first", "second"), ("first", "second")),
        ("depthwise", "depthwise"),
        (True, True),
        (torch.arange(6).reshape(2, 3), torch.arange(6).reshape(2, 3)),
        (torch.tensor([0.5, -1.0]), torch.tensor([0.5, -1.0])),
        (torch.tensor([True, False]), torch.tensor([True, False])),
    ],
)
def test_the_right_value_is_right(yours, expected):
    assert check_value(yours, expected) == "Well done: that is right."


@pytest.mark.parametrize(
    ("yours", "expected", "answer"),
    [
        (2, 3, "Not yet: 2 is too low."),
        (4.5, 3, "Not yet: 4.5 is too high."),
        (-4, -3, "Not yet: -4 is too low."),
        ("3", 3, "Not yet: a number is wanted, and this is of type str."),
        (True, 1, "Not yet: a number is wanted, and this is of type bool."),
        ((3,), 3, "Not yet: a number is wanted, and this is of type tuple."),
        ((3, 3, 6, 3), (3, 3, 9, 3), "Not yet: (3, 3, 6, 3) is not it."),
        ((3, 3, 9), (3, 3, 9, 3), "Not yet: (3, 3, 9) is not it."),
        (3, (3, 3, 9, 3), "Not yet: 3 is not it."),
        ("pointwise", "depthwise", "Not yet: 'pointwise' is not it."),
        (False, True, "Not yet: False is not it."),
    ],
)
def test_another_value_is_told_in_a_sentence(yours, expected, answer):
    assert check_value(yours, expected) == answer


@pytest.mark.parametrize(
    ("yours", "verdict"), [(2.9, "Well done"), (3.1, "Well done"), (2.8, "Not yet"), (3.2, "Not yet")]
)
def test_a_number_may_be_as_far_away_as_one_says(yours, verdict):
    assert check_value(yours, 3, tolerance=0.15).startswith(verdict)


def test_what_is_said_of_the_right_value_can_be_chosen():
    assert check_value(3, 3, done="three blocks, as in ResNet-50.") == "Well done: three blocks, as in ResNet-50."
    assert check_value(2, 3, done="three blocks.") == "Not yet: 2 is too low."


WANTED = torch.tensor([[1.0, 2.0], [3.0, 4.0]])


@pytest.mark.parametrize(
    ("yours", "answer"),
    [
        (WANTED[0], "Not yet: a tensor of shape [2, 2] is wanted, and this is [2]."),
        (WANTED.flatten(), "Not yet: a tensor of shape [2, 2] is wanted, and this is [4]."),
        (WANTED.tolist(), "Not yet: a tensor of shape [2, 2] is wanted, and this is list."),
        (4.0, "Not yet: a tensor of shape [2, 2] is wanted, and this is float."),
        (WANTED + torch.tensor([[0.0, 0.0], [-0.25, 0.0]]), "Not yet: the values differ by up to 0.25."),
        (WANTED - 1e9, "Not yet: the values differ by up to 1e+09."),
        (WANTED * float("nan"), "Not yet: the values differ by up to nan."),
    ],
)
def test_another_tensor_is_told_in_a_sentence(yours, answer):
    assert check_value(yours, WANTED) == answer


def test_tensors_of_bytes_are_compared_as_numbers():
    one, two = torch.tensor([1], dtype=torch.uint8), torch.tensor([2], dtype=torch.uint8)
    assert check_value(one, two) == check_value(two, one) == "Not yet: the values differ by up to 1."
    assert check_value(torch.tensor([True, False]), torch.tensor([True, True])).startswith("Not yet: the values differ")


def test_a_tensor_may_be_as_far_away_as_one_says():
    assert check_value(WANTED + 0.1, WANTED, tolerance=0.2).startswith("Well done")
    assert check_value(WANTED + 0.3, WANTED, tolerance=0.2).startswith("Not yet")


def find_fault(value):
    """What is wrong with a list of widths, None where nothing is."""
    if value[0] != 96:
        return f"the first width is {value[0]}, and should be 96."
    return None if value[-1] == 8 * value[0] else "the last width should be eight times the first."


@pytest.mark.parametrize(
    ("yours", "answer"),
    [
        ((96, 192, 384, 768), "Well done: that is right."),
        ((64, 128), "Not yet: the first width is 64, and should be 96."),
        ((96, 192), "Not yet: the last width should be eight times the first."),
    ],
)
def test_a_function_may_find_the_fault(yours, answer):
    assert check_value(yours, find_fault) == answer


@pytest.mark.parametrize(
    ("yours", "answer"),
    [
        ((), "Not yet: it cannot be used (tuple index out of range)."),
        (3, "Not yet: it cannot be used ('int' object is not subscriptable)."),
    ],
)
def test_what_the_function_raises_is_part_of_the_answer(yours, answer):
    assert check_value(yours, find_fault) == answer


@pytest.mark.parametrize(
    ("error", "words"),
    [(RuntimeError("first line\nand more"), "first line"), (ZeroDivisionError(), "ZeroDivisionError")],
)
def test_an_error_is_told_in_one_line(error, words):
    def broken(value):
        raise error

    assert check_value(3, broken) == f"Not yet: it cannot be used ({words})."


@pytest.mark.parametrize("yours", [None, 3, "a", WANTED, (1, 2), float("nan"), find_fault])
@pytest.mark.parametrize("expected", [3, "a", WANTED, (1, 2), True, find_fault])
def test_whatever_it_is_the_answer_is_one_sentence(yours, expected):
    answer = check_value(yours, expected)
    assert answer.startswith(VERDICTS)
    assert answer.endswith(".")
    assert "\n" not in answer
