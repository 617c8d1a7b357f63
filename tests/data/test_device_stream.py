from types import SimpleNamespace

import pytest
import torch

from convnext_lessons.data import device_stream
from convnext_lessons.data.alterations import finish
from convnext_lessons.data.device_stream import CopyStream, one_ahead, to_device


def raw(number):
    return (
        torch.full((2, 3, 8, 8), number, dtype=torch.uint8),
        torch.tensor([number, number + 1]),
        torch.tensor([[1, 2, 3, 4, number], [0] * 5]),
    )


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_the_next_batch_is_begun_before_one_is_given_away(count):
    events = []

    def begin(batch):
        events.append(f"begin {batch}")
        return batch

    def wait(batch):
        events.append(f"wait {batch}")
        return batch

    assert list(one_ahead(range(count), begin, wait)) == list(range(count))
    begun = [f"begin {number}" for number in range(count)]
    expected = [word for number in range(count) for word in (*begun[number + 1 : number + 2], f"wait {number}")]
    assert events == begun[:1] + expected


def test_no_more_than_one_batch_is_ahead():
    taken = []
    stream = one_ahead(
        (taken.append(number) or number for number in range(9)), lambda batch: batch, lambda batch: batch
    )
    for number in range(5):
        next(stream)
        assert len(taken) == number + 2


def test_on_the_cpu_batches_are_finished_one_by_one():
    taken = []
    stream = to_device((taken.append(number) or raw(number) for number in range(3)), torch.device("cpu"))
    for number in range(3):
        for one, other in zip(next(stream), finish(raw(number), torch.device("cpu")), strict=True):
            assert torch.equal(one, other)
        assert len(taken) == number + 1


def test_a_batch_is_copied_on_a_stream_of_its_own_and_waited_for_by_the_other(monkeypatch):
    """The order of calls; a made-up CUDA notes them."""
    calls = []

    class Stream:
        def __init__(self, device):
            self.name = "copies"

        def record_event(self):
            calls.append("event recorded")
            return "event"

        def __enter__(self):
            calls.append("copies on")

        def __exit__(self, *_):
            calls.append("copies off")

    computing = SimpleNamespace(wait_event=lambda event: calls.append(f"computing waits for {event}"))
    tensor = SimpleNamespace(record_stream=lambda stream: calls.append(f"held for {stream is computing}"))
    cuda = SimpleNamespace(Stream=Stream, stream=lambda stream: stream, current_stream=lambda device: computing)
    monkeypatch.setattr(device_stream.torch, "cuda", cuda)
    monkeypatch.setattr(device_stream, "finish", lambda batch, device: calls.append(f"finish {batch}") or (tensor,) * 2)
    copies = CopyStream(torch.device("cuda"))
    begun = copies.begin("one")
    assert calls == ["copies on", "finish one", "event recorded", "copies off"]
    assert copies.wait(begun) == (tensor, tensor)
    assert calls[4:] == ["computing waits for event", "held for True", "held for True"]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
def test_on_a_gpu_the_batches_are_those_of_the_cpu_but_for_the_noise():
    device = torch.device("cuda")
    found = list(to_device(map(raw, range(5)), device))
    assert len(found) == 5
    for number, (pictures, labels) in enumerate(found):
        expected, same = finish(raw(number), torch.device("cpu"))
        torch.testing.assert_close(pictures[1].cpu(), expected[1])
        assert (pictures[0, :, 1:4, 2:6].cpu() != standard(number)).all() and torch.equal(labels.cpu(), same)


def standard(number):
    pictures, _, rectangles = raw(number)
    return finish((pictures, torch.zeros(2), torch.zeros_like(rectangles)), torch.device("cpu"))[0][0, :, 1:4, 2:6]
