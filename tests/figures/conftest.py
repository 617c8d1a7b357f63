"""What the tests of figures share."""

import io

import pytest
from PIL import Image


@pytest.fixture(scope="session")
def is_drawn():
    """``is_drawn(plot)``: the plot is a PNG with more on it than a frame."""

    def is_drawn(plot):
        opened = Image.open(io.BytesIO(plot.png()))
        return opened.format == "PNG" and len(opened.convert("RGB").getcolors(1 << 20)) > 3

    return is_drawn
