"""An explorer's states in one piece of HTML that needs no kernel: range inputs and lists, the pictures behind them, and
a few lines of JavaScript that exchange the one for the other.

The states are packed as deflate, since the drawings of one explorer have nearly everything in common: those of lesson
00 shrink to a thirtieth. Browsers unpack that by themselves (``DecompressionStream``, since 2023); where one cannot, or
runs no JavaScript, the first picture stays and no control is shown.
"""

import base64
import io
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from PIL import Image

from convnext_lessons.figures.canvas import Diagram
from convnext_lessons.figures.plots import Plot

STATES, BYTES = 300, 2_000_000  # the most that an explorer on a page may have and weigh


@dataclass(frozen=True)
class Control:
    """One control of a frozen explorer.

    Attributes:
        name: what is chosen.
        labels: of its values, in order.
        start: index of the value that it begins with.
        ordered: whether the values have an order, which is a slider, or are names in a list.
    """

    name: str
    labels: Sequence[str]
    start: int
    ordered: bool


def freeze(task: str, controls: Sequence[Control], states: Sequence[tuple[str, str]]) -> str | None:
    """The HTML of an explorer, which may stand several times and beside others on a page.

    Args:
        task: what to find out.
        controls: in the order of the states' digits.
        states: (picture as HTML, its sentence) for every combination of values, the last control's running fastest.

    Returns:
        None where it would weigh more than ``BYTES``.
    """
    start = 0
    for control in controls:
        start = start * len(control.labels) + control.start
    pictures = list(dict.fromkeys(picture for picture, _ in states))
    place = {picture: index for index, picture in enumerate(pictures)}
    content = {"pictures": pictures, "states": [[place[picture], words] for picture, words in states]}
    packed = base64.b64encode(zlib.compress(json.dumps(content).encode(), 9)).decode()
    html = (
        f'<div class="explorer"><p class="explorer-task"><strong>{escape(task)}</strong></p>'
        f'<div class="explorer-controls" hidden>{"".join(map(_control, controls))}</div>'
        f'<div class="explorer-view">{states[start][0]}</div><output class="explorer-words" style="{_UNSEEN}" '
        f'aria-live="polite"></output><script type="text/plain">{packed}</script><script>{_SCRIPT}</script></div>'
    )
    return html if len(html) <= BYTES else None


def still(task: str, picture: str, why: str) -> str:
    """The HTML of an explorer that cannot move on a page: its task, a picture, and a sentence that says why."""
    return (
        f'<div class="explorer"><p class="explorer-task"><strong>{escape(task)}</strong></p>'
        f'<div class="explorer-view">{picture}</div><p class="explorer-why"><em>{escape(why)}</em></p></div>'
    )


def html_of(picture: Diagram | Plot) -> str:
    """A picture as HTML: a diagram as SVG, a plot as lossless WebP, which is a fifth smaller than PNG."""
    if isinstance(picture, Diagram):
        return picture.svg()
    drawn, out = Image.open(io.BytesIO(picture.png())).convert("RGB"), io.BytesIO()
    drawn.save(out, "webp", lossless=True)
    source = f"data:image/webp;base64,{base64.b64encode(out.getvalue()).decode()}"
    size = f'width="{drawn.width}" height="{drawn.height}"'
    return f'<img alt="{escape(picture.alt)}" {size} style="max-width:100%;height:auto" src="{source}">'


def _control(control):
    name, now = escape(control.name), escape(control.labels[control.start])
    if control.ordered:
        labels = escape(json.dumps(list(control.labels)))
        last = len(control.labels) - 1
        return (
            f'<label><span>{name}</span> <input type="range" min="0" max="{last}" value="{control.start}" '
            f'data-labels="{labels}" aria-valuetext="{now}"> <b>{now}</b></label> '
        )
    options = "".join(
        f"<option{' selected' if index == control.start else ''}>{escape(label)}</option>"
        for index, label in enumerate(control.labels)
    )
    return f"<label><span>{name}</span> <select>{options}</select></label> "


_UNSEEN = "position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)"

_SCRIPT = """\
(async () => {
  const explorer = document.currentScript.parentElement;
  const [controls, view, words, packed] = [...explorer.children].slice(1);
  const bytes = Uint8Array.from(atob(packed.textContent), letter => letter.charCodeAt(0));
  const unpacked = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  const {pictures, states} = await new Response(unpacked).json();
  const inputs = [...controls.querySelectorAll("input, select")];
  const show = () => {
    let state = 0;
    for (const input of inputs) {
      if (input.options) {
        state = state * input.options.length + input.selectedIndex;
      } else {
        const labels = JSON.parse(input.dataset.labels);
        state = state * labels.length + Number(input.value);
        input.nextElementSibling.textContent = labels[input.value];
        input.setAttribute("aria-valuetext", labels[input.value]);
      }
    }
    const [picture, sentence] = states[state];
    view.innerHTML = pictures[picture];
    return sentence;
  };
  controls.addEventListener("input", () => { words.textContent = show(); });
  controls.hidden = false;
  show();  // a page that is loaded again keeps what was chosen
})();"""
