"""The one training loop of the course: seeds, mixed precision, checkpoints, and progress told to a callable."""

import contextlib
import itertools
import json
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from convnext_lessons.images import training_batches, validation_batches
from convnext_lessons.machine import CourseError, atomic, fast_mode, made, save_tensors, storage_error, wait_for
from convnext_lessons.machine import device as choose_device
from convnext_lessons.network import build, initialize
from convnext_lessons.records import Experiment, Ledger, record_of

POINTS_PER_EPOCH = 10  # of the curve
CHECKPOINT_VERSION = 1
PARTS = ("network", "optimizer", "scaler")  # of a trainer, whose state a checkpoint keeps


class TrainingError(CourseError):
    """A run that cannot start or go on."""


@dataclass(frozen=True)
class Run:
    """A finished or interrupted run: its record (see ``records``) and the trained network in evaluation mode."""

    record: dict
    network: torch.nn.Module

    @property
    def accuracy(self):
        """Share of the validation pictures that are classified right; None where the run stopped before it was
        measured."""
        return self.record["accuracy"]

    def __str__(self):
        words = "accuracy not measured" if self.accuracy is None else f"{self.accuracy:.1%}"
        if self.record["status"] == "interrupted":
            words += (
                f", interrupted after {self.record['curve'][-1]['pictures'] if self.record['curve'] else 0:,} pictures"
            )
        return f"step {self.record['step']}, seed {self.record['seed']}: {words}"


def precision_for(device):
    """The number format of the forward pass: bfloat16 where a GPU has units for it, float16 on older ones, float32
    on the CPU."""
    if device.type != "cuda":
        return torch.float32
    return torch.bfloat16 if torch.cuda.get_device_capability(device) >= (8, 0) else torch.float16


def make_network(experiment, classes, device):
    """The network that an experiment trains: thinned as the recipe says, its weights drawn from the seed."""
    recipe = experiment.recipe
    torch.manual_seed(experiment.seed)
    network = build(
        experiment.architecture.thinner(recipe.width_factor), classes, recipe.stochastic_depth, recipe.layer_scale_init
    )
    initialize(network, recipe.initialization)
    return network.to(device, memory_format=torch.channels_last)


def train(experiment, images, device=None, report=lambda point: None, ledger=None, folder=None):
    """Train an experiment's network and record the run.

    Args:
        experiment: an ``Experiment``; fast mode cuts its recipe down.
        images: ``Images`` of the recipe's image size.
        device: where to train; the best there is unless given.
        report: is called with every new point of the curve, ``{"pictures", "seconds", "loss"}`` and at times
            ``"accuracy"``; the loss is None where a run is stopped before it was read for the first time.
        ledger: the ``Ledger`` that gets the record; the learner's own unless given.
        folder: where ``log.jsonl`` and ``last.pt`` go; a run that stopped there goes on after its last whole epoch, and
            one that is finished is not trained or recorded again.

    Returns:
        A ``Run``. An interruption (the stop button, Ctrl-C) ends the training early, and what was learnt is kept and
        recorded.

    Raises:
        TrainingError: the loss is no longer a number, or the folder holds another run.
        DeviceError: the device is not there.
    """
    device = choose_device(device)
    ledger = ledger or Ledger()
    made(ledger.path.parent)  # better now than after the training
    experiment = _as_it_runs(experiment, images)
    recipe = experiment.recipe
    images = images.to(device)
    network = make_network(experiment, len(images.classes), device)
    trainer = _Trainer(network, recipe, device, len(images.classes))
    log = _Log(folder, experiment, images.note)
    curve = log.begin(trainer)
    was_finished = trainer.epochs_done == recipe.epochs

    def tell(point):
        curve.append(point)
        log.write(point)
        report(point)

    status = "complete"
    try:
        for epoch in range(trainer.epochs_done, recipe.epochs):
            # Whatever draws random numbers inside an epoch draws the same ones after a resumption.
            torch.manual_seed(experiment.seed * 100_003 + epoch)
            for point in trainer.epoch(images, experiment.seed, epoch):
                tell(point)
            tell({**_rounded(trainer), "loss": curve[-1]["loss"], "accuracy": evaluate(network, images, device)})
            log.save(trainer, curve)
    except KeyboardInterrupt:
        status = "interrupted"
        if trainer.pictures:
            with contextlib.suppress(KeyboardInterrupt):
                tell({**_rounded(trainer), "loss": trainer.last_loss, "accuracy": evaluate(network, images, device)})
    network.eval()
    record = record_of(
        experiment,
        images,
        device,
        str(trainer.precision).removeprefix("torch."),
        curve,
        status,
        seconds=round(trainer.seconds, 2),
    )
    if not was_finished:
        ledger.append(record)
    return Run(record, network)


@torch.no_grad()
def evaluate(network, images, device):
    """Share of the validation pictures that a network classifies right, from 0 to 1."""
    was_training = network.training
    network.eval()
    right = 0
    for pictures, labels in validation_batches(images):
        with torch.autocast(device.type, precision_for(device), enabled=device.type == "cuda"):
            right += (network(pictures).argmax(1) == labels).sum().item()
    network.train(was_training)
    return right / len(images.val)


def estimate_seconds(experiment, images, device=None, batches=3):
    """Seconds that ``train`` will take here, evaluations included, from the fastest of a few batches after one that
    warms up: whatever else the machine does at the moment makes single batches slow."""
    device = choose_device(device)
    experiment = _as_it_runs(experiment, images)
    recipe = experiment.recipe
    some = images.to(device)
    trainer = _Trainer(make_network(experiment, len(images.classes), device), recipe, device, len(images.classes))
    stream = itertools.cycle(itertools.islice(training_batches(some, recipe, experiment.seed, 0), 1 + batches))
    trainer.step(*next(stream), 0.0)
    spent = []
    for _ in range(batches):
        wait_for(device)
        start = time.perf_counter()
        trainer.step(*next(stream), 0.0)
        wait_for(device)
        spent.append(time.perf_counter() - start)
    a_batch = min(spent)
    # An evaluation is the forward third of a training step.
    per_epoch = len(images.train) // recipe.batch_size + len(images.val) / recipe.batch_size / 3
    return a_batch * per_epoch * recipe.epochs


class _Trainer:
    """Network, optimizer, scaler and how far they have come."""

    def __init__(self, network, recipe, device, classes):
        self.network, self.recipe, self.device = network, recipe, device
        self.precision = precision_for(device)
        self.optimizer = recipe.optimizer(network)
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.precision == torch.float16)
        self.loss, self.mix = recipe.loss(), recipe.mixing(classes)
        self.epochs_done, self.pictures, self.seconds, self.last_loss = 0, 0, 0.0, None

    def step(self, pictures, labels, progress):
        """One update at ``progress`` epochs; the loss as a tensor, so that a GPU need not be waited for."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.learning_rate_at(progress)
        pictures, labels = self.mix(pictures, labels)
        self.optimizer.zero_grad(set_to_none=True)
        with torch.autocast(self.device.type, self.precision, enabled=self.device.type == "cuda"):
            loss = self.loss(self.network(pictures), labels)
        self.scaler.scale(loss).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return loss.detach()

    def epoch(self, images, seed, epoch):
        """Train for one epoch; yield a point of the curve some ten times, its loss the mean since the last."""
        self.network.train()
        batches = len(images.train) // self.recipe.batch_size
        ends = {batches * (part + 1) // POINTS_PER_EPOCH for part in range(POINTS_PER_EPOCH)}
        total, count, start = 0.0, 0, time.perf_counter()
        for number, (pictures, labels) in enumerate(training_batches(images, self.recipe, seed, epoch), start=1):
            # The rate of the step's end, so that the first step of the warm-up is not wasted on a rate of 0.
            total = total + self.step(pictures, labels, epoch + number / batches)
            count += 1
            self.pictures += len(pictures)
            if number in ends:
                self.last_loss = round(total.item() / count, 5)  # waits for the GPU
                self.seconds += time.perf_counter() - start
                if not self.last_loss < float("inf"):
                    raise TrainingError(
                        f"The loss is no longer a number after {self.pictures} pictures; choose a lower learning_rate "
                        f"than {self.recipe.learning_rate}."
                    )
                yield {**_rounded(self), "loss": self.last_loss}
                total, count, start = 0.0, 0, time.perf_counter()
        self.epochs_done = epoch + 1


def _rounded(trainer):
    return {"pictures": trainer.pictures, "seconds": round(trainer.seconds, 2)}


class _Log:
    """``log.jsonl`` and ``last.pt`` of a run that has a folder; does nothing for one that has not."""

    def __init__(self, folder, experiment, note):
        self.folder = Path(folder) if folder else None
        self.signature = {"version": CHECKPOINT_VERSION, "images": note, **experiment.settings()}

    def begin(self, trainer):
        """Set a trainer to the saved state, where there is one, and return the curve up to there."""
        if not self.folder:
            return []
        path = self.folder / "last.pt"
        curve = self._restore(trainer, path) if path.exists() else []
        # A log may be ahead of its checkpoint; what is trained again is logged again.
        with atomic(self.folder / "log.jsonl") as part:
            part.write_text("".join(json.dumps(point) + "\n" for point in curve), encoding="utf-8")
        return curve

    def _restore(self, trainer, path):
        try:
            saved = torch.load(path, weights_only=True, map_location=trainer.device)
        except Exception as error:  # a damaged file can raise nearly anything
            raise TrainingError(f"The checkpoint {path} cannot be read; delete it to start this run anew.") from error
        signature = saved.get("signature") if isinstance(saved, dict) else None
        if not isinstance(signature, dict):
            raise TrainingError(f"{path} is not a checkpoint of the course; choose another folder, or delete it.")
        if signature != self.signature:
            differ = [key for key in self.signature if signature.get(key) != self.signature[key]]
            raise TrainingError(
                f"{path} belongs to another run (its {', '.join(differ)} differ); choose another folder, or delete it."
            )
        for name in PARTS:
            getattr(trainer, name).load_state_dict(saved[name])
        curve = saved["curve"]
        trainer.epochs_done, trainer.last_loss = saved["epochs_done"], curve[-1]["loss"]
        trainer.pictures, trainer.seconds = curve[-1]["pictures"], curve[-1]["seconds"]
        return curve

    def write(self, point):
        if not self.folder:
            return
        try:
            with open(self.folder / "log.jsonl", "a", encoding="utf-8") as file:
                file.write(json.dumps(point) + "\n")
        except OSError as error:
            raise storage_error(self.folder, error) from error

    def save(self, trainer, curve):
        if not self.folder:
            return
        parts = {name: getattr(trainer, name).state_dict() for name in PARTS}
        content = {"signature": self.signature, "epochs_done": trainer.epochs_done, "curve": curve, **parts}
        save_tensors(content, self.folder / "last.pt")


def _as_it_runs(experiment, images):
    """The experiment as this machine runs it: cut down in fast mode; checked against the pictures."""
    if fast_mode():
        experiment = Experiment(experiment.architecture, experiment.recipe.fast(), experiment.seed)
    if images.size != experiment.recipe.image_size:
        raise TrainingError(
            f"The recipe takes pictures of {experiment.recipe.image_size} px, and these have {images.size}; "
            f"load them with size={experiment.recipe.image_size}."
        )
    if len(images.train) < experiment.recipe.batch_size:
        raise TrainingError(
            f"{len(images.train)} training pictures do not fill one batch of {experiment.recipe.batch_size}; "
            "choose a smaller batch_size."
        )
    return experiment
