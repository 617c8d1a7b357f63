from torch import nn

from convnext_lessons.figures import compare
from convnext_lessons.model import architecture_after, build


def thin(step):
    return architecture_after(step).thinner(1 / 8)


def test_configuration_is_what_was_decided():
    assert compare(thin(3), thin(4)).configuration == [("inverted = False", "inverted = True")]
    names = [before.split(" = ")[0] for before, _ in compare(thin(0), thin(11)).configuration]
    assert names[0] == "depths" and "layer_scale" in names and len(names) == 13


def test_code_and_layers_come_from_the_module():
    network = build(thin(4))
    network.stages[0][1].residual[2] = nn.GELU()
    found = compare(thin(4), network)
    changed = [(before.strip(), after.strip()) for before, after in found.code if before != after]
    assert changed == [("(2): ReLU(inplace=True)", "(2): GELU(approximate='none')")]
    differing = [pair for pair in found.layers if pair[0] != pair[1]]
    assert len(differing) == 1 and "GELU" in differing[0][1]
    assert len(found.layers) > 100


def test_code_leaves_out_defaults():
    lines = [line.strip() for line, _ in compare(thin(4), thin(4)).code]
    assert "(0): Conv2d(12, 48, kernel_size=1, bias=False)" in lines
    assert "(3): Conv2d(48, 48, kernel_size=3, padding=1, groups=48, bias=False)" in lines
    assert "(1): BatchNorm2d(48)" in lines


def test_equal_networks_differ_in_nothing():
    found = compare(thin(4), thin(4))
    assert found.configuration == []
    assert all(before == after for before, after in found.code + found.layers)
    assert "no difference" in repr(found)


def test_html_is_escaped():
    network = build(thin(4))
    network.stages[0][1].residual[2] = type("Odd<b>", (nn.ReLU,), {})()
    html = compare(thin(4), network)._repr_html_()
    assert "Odd&lt;b&gt;" in html and "Odd<b>" not in html
