"""What all tests share: one thread, fast mode, a data folder of their own, and the manner of our errors."""

import contextlib
import itertools
import os

# Before torch is imported, also by the processes that tests start: threads that share few cores wait for each other.
os.environ["OMP_NUM_THREADS"] = "1"

import pytest
import torch

torch.set_num_threads(1)

# Tests train networks of a few channels. For the gradient of a strided 1×1 convolution with fewer than eight of them
# oneDNN's code for AVX2 writes past its memory (its issue 6035, torch 2.14); its older code does not.
if torch.backends.cpu.get_cpu_capability() == "AVX2":
    os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX")


@pytest.fixture(autouse=True)
def own_place(tmp_path, monkeypatch):
    """Fast mode, and a data folder that nobody else reads or writes."""
    folder = tmp_path / "data"
    monkeypatch.setenv("CONVNEXT_LESSONS_FAST", "1")
    monkeypatch.setenv("CONVNEXT_LESSONS_DATA", str(folder))
    return folder


@pytest.fixture
def full_mode(monkeypatch):
    """Fast mode off."""
    monkeypatch.delenv("CONVNEXT_LESSONS_FAST")


@pytest.fixture(scope="session")
def refuses():
    """``with refuses(SomeError, "word", …):`` – the block raises it, in one sentence that has these words."""

    @contextlib.contextmanager
    def refusal(error, *words):
        with pytest.raises(error) as caught:
            yield
        message = str(caught.value)
        assert "\n" not in message
        assert message.endswith((".", "?"))
        for word in words:
            assert word in message

    return refusal


@pytest.fixture
def stopped_at_the_second_step(monkeypatch):
    """The stop button is pressed in training's second step, before anything was reported."""
    calls = itertools.count()
    step = torch.optim.AdamW.step

    def interrupted(self, *args, **kwargs):
        if next(calls) == 1:
            raise KeyboardInterrupt
        return step(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.AdamW, "step", interrupted)
