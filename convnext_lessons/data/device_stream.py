"""Batches on the device that trains; on a GPU the next one is copied while the network works on the one before."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import torch

from convnext_lessons.data.alterations import RawBatch, finish
from convnext_lessons.data.augmentation import Batch

Raw, Begun, Done = TypeVar("Raw"), TypeVar("Begun"), TypeVar("Done")


def to_device(batches: Iterable[RawBatch], device: torch.device) -> Iterator[Batch]:
    """Yield (pictures, labels) as a network takes them, on the device."""
    if device.type == "cuda":
        copies = CopyStream(device)
        return one_ahead(batches, copies.begin, copies.wait)
    return (finish(batch, device) for batch in batches)


def one_ahead(batches: Iterable[Raw], begin: Callable[[Raw], Begun], wait: Callable[[Begun], Done]) -> Iterator[Done]:
    """Yield ``wait(begin(batch))``, with the next batch begun before one is given away."""
    begun = []
    for batch in batches:
        begun.append(begin(batch))
        if len(begun) > 1:
            yield wait(begun.pop(0))
    yield from map(wait, begun)


class CopyStream:
    """A stream of a GPU beside the one that computes: batches are copied and finished there. Copies from pinned memory
    run while the other stream works."""

    def __init__(self, device: torch.device):
        self.device, self.stream = device, torch.cuda.Stream(device)

    def begin(self, batch: RawBatch) -> tuple[Batch, torch.cuda.Event]:
        """The batch that will be there when the event comes."""
        with torch.cuda.stream(self.stream):
            return finish(batch, self.device), self.stream.record_event()

    def wait(self, begun: tuple[Batch, torch.cuda.Event]) -> Batch:
        """The batch; what the computing stream is given from now on comes after the copy."""
        batch, event = begun
        computing = torch.cuda.current_stream(self.device)
        computing.wait_event(event)
        for tensor in batch:
            tensor.record_stream(computing)  # or its memory might be used again while the network still reads it
        return batch
