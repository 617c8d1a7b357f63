"""The one training loop of the course: on a laptop's two cores, or on many GPUs of several machines for days."""

import contextlib
import itertools
import time
from dataclasses import dataclass

import torch
from torch.nn.parallel import DistributedDataParallel

from convnext_lessons.checkpoints import Journal, read_checkpoint
from convnext_lessons.images import Images, seed_of
from convnext_lessons.loading import ALONE, Validation, training_stream, usual_workers
from convnext_lessons.machine import CourseError, fast_mode, made, wait_for
from convnext_lessons.network import build, initialize
from convnext_lessons.processes import Processes, Stopped, StopRequest
from convnext_lessons.records import Experiment, Ledger, record_of

POINTS_PER_EPOCH = 10  # of the curve
PARTS = ("network", "average", "optimizer", "scaler")  # of a trainer, whose state a checkpoint keeps
NUMBERS = ("steps", "epochs_done", "seconds", "total", "count", "last_loss")


class TrainingError(CourseError):
    """A run that cannot start or go on."""


@dataclass(frozen=True)
class Engine:
    """How the work is done; but for rounding none of it changes what is learnt.

    Attributes:
        processes: those that ``torchrun`` started, from ``processes.joined``.
        at_once: most pictures in a forward pass; a batch is gathered out of several where a process's share is larger.
        workers: loader processes for each training process; as many as there are cores unless given.
        save_minutes: between checkpoints inside an epoch; each epoch ends with one anyway.
        save_steps: the same in steps; none unless given.
        precision: the number format of the forward pass in training, a ``torch.dtype``; ``precision_for`` the device
            unless given.
        seconds: after which a run with a folder saves and leaves; when it is done unless given.
        compiled: translate the network with ``torch.compile`` first, which takes minutes and may pay in hours.
    """

    processes: Processes = ALONE
    at_once: int | None = None
    workers: int | None = None
    save_minutes: float = 10.0
    save_steps: int | None = None
    precision: torch.dtype | None = None
    seconds: float | None = None
    compiled: bool = False


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


def train(experiment, images, device=None, report=lambda point: None, ledger=None, folder=None, engine=None):
    """Train an experiment's network and record the run.

    Args:
        experiment: an ``Experiment``; fast mode cuts its recipe down.
        images: what ``files.images_for`` gives for the recipe.
        device: where to train; the best there is unless given.
        report: is called with every new point of the curve, ``{"pictures", "seconds", "loss"}`` and at times
            ``"accuracy"``; the loss is None where a run is stopped before it was read for the first time. Pictures
            that were read one by one add ``"waiting"``, the share of the time spent waiting for them; a moving average
            adds ``"accuracy_unaveraged"``, that of the weights behind it.
        ledger: the ``Ledger`` that gets the record; the learner's own unless given.
        folder: where ``log.jsonl`` and ``last.pt`` go; a run that stopped there goes on where it was saved, and one
            that is finished is not trained or recorded again.
        engine: an ``Engine``; this process alone unless given.

    Returns:
        A ``Run``. Without a folder, an interruption (the stop button, Ctrl-C) ends the training early, and what was
        learnt is kept and recorded.

    Raises:
        TrainingError: the loss is no longer a number, or pictures and recipe do not fit together.
        CheckpointError: the folder holds another run, or nothing that can be read.
        Stopped: SIGTERM or an interruption came; the state is saved in the folder.
        DeviceError: the device is not there.
    """
    engine = engine or Engine()
    device = engine.processes.device(device)
    ledger = ledger or Ledger()
    made(ledger.path.parent)  # better now than after the training
    experiment = _as_it_runs(experiment, images, engine.processes)
    recipe = experiment.recipe
    images = where_they_are_needed(images, recipe, device)
    trainer = Trainer(experiment, images, device, engine)
    journal = Journal(folder, {"images": images.note, **experiment.settings()}, engine.processes.first)
    curve = trainer.restore(journal.begin(device), folder)
    was_finished = trainer.epochs_done == recipe.epochs

    def tell(point):
        curve.append(point)
        if engine.processes.first:
            journal.write(point)
            report(point)

    def save():
        if journal.writes:
            journal.save(trainer.state(curve))

    status = "complete"
    with StopRequest(engine.seconds) if folder else contextlib.nullcontext() as request:
        try:
            for epoch in range(trainer.epochs_done, recipe.epochs):
                for point in trainer.epoch(epoch, request, save):
                    tell(point)
                tell(trainer.judged())
                trainer.epochs_done = epoch + 1
                save()
        except KeyboardInterrupt:
            status = "interrupted"
            if trainer.steps:
                with contextlib.suppress(KeyboardInterrupt):
                    tell(trainer.judged())
    if status == "complete":
        journal.end()
    network = trainer.result()
    record = record_of(
        experiment,
        images,
        device,
        str(trainer.precision).removeprefix("torch."),
        curve,
        status,
        processes=engine.processes.count,
        seconds=round(trainer.seconds, 2),
    )
    if not was_finished and engine.processes.first:
        ledger.append(record)
    return Run(record, network)


def load_run(folder, device=None):
    """The experiment and the network of a run's last checkpoint, its averaged weights where it keeps them.

    Returns:
        (``Experiment``, network in evaluation mode)

    Raises:
        CheckpointError: there is no checkpoint that can be read.
    """
    device = ALONE.device(device)
    saved = read_checkpoint(folder, device)
    experiment = Experiment.from_settings(saved["signature"])
    network = make_network(experiment, saved["classes"], device)
    average = experiment.recipe.averaged(network)
    network.load_state_dict(saved["network"])
    if average:
        average.load_state_dict(saved["average"])
    return experiment, (average.module if average else network).eval()


@torch.no_grad()
def evaluate(network, batches, device, processes=ALONE):
    """Share of the pictures in (pictures, labels) batches that a network classifies right, from 0 to 1; of several
    processes each brings its own batches, and all get the share over all of them."""
    was_training = network.training
    network.eval()
    right = count = 0
    for pictures, labels in batches:
        with torch.autocast(device.type, precision_for(device), enabled=device.type == "cuda"):
            right += (network(pictures).argmax(1) == labels).sum()
        count += len(labels)
    network.train(was_training)
    right, count = processes.sum(int(right), count)
    return right / count


def estimate_seconds(experiment, images, device=None, batches=3):
    """Seconds that ``train`` will take here, evaluations included, from the fastest of a few batches after one that
    warms up: whatever else the machine does at the moment makes single batches slow."""
    device = ALONE.device(device)
    experiment = _as_it_runs(experiment, images, ALONE)
    recipe = experiment.recipe
    images = where_they_are_needed(images, recipe, device)
    trainer = Trainer(experiment, images, device, Engine())
    stream = training_stream(images, recipe, experiment.seed, 0, device)
    stream = itertools.cycle(itertools.islice(stream, 1 + batches))
    trainer.step([next(stream)], 0.0)
    spent = []
    for _ in range(batches):
        wait_for(device)
        start = time.perf_counter()
        trainer.step([next(stream)], 0.0)
        wait_for(device)
        spent.append(time.perf_counter() - start)
    a_batch = min(spent)
    # An evaluation is the forward third of a training step.
    per_epoch = len(images.train) // recipe.batch_size + len(images.val) / recipe.batch_size / 3
    return a_batch * per_epoch * recipe.epochs


class Trainer:
    """Network, average, optimizer, scaler and how far they have come."""

    def __init__(self, experiment, images, device, engine):
        self.recipe, self.seed, self.images = experiment.recipe, experiment.seed, images
        self.device, self.engine, self.processes = device, engine, engine.processes
        self.classes = len(images.classes)
        self.network = make_network(experiment, self.classes, device)
        self.precision = engine.precision or precision_for(device)
        self.average = self.recipe.averaged(self.network)
        self.optimizer = self.recipe.optimizer(self.network)
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.precision == torch.float16)
        self.loss, self.mix = self.recipe.loss(), self.recipe.mixing(self.classes)
        self.steps, self.epochs_done, self.seconds, self.last_loss = 0, 0, 0.0, None
        self.total, self.count = 0.0, 0  # the losses since the curve's last point
        self.workers = 0 if fast_mode() else engine.workers
        if self.workers is None:
            self.workers = usual_workers(self.processes)
        self.validation = Validation(images, self.recipe, device, self.processes, self.workers)
        self.stream = None  # begins where a checkpoint says
        self.parallel = self.network
        if self.processes.count > 1:
            self.parallel = self._spread()
        self.forward = torch.compile(self.parallel) if engine.compiled else self.parallel

    def _spread(self):
        """The network under ``DistributedDataParallel``, past its first backward pass: after that one it sorts anew in
        which order gradients are added up, which would make a resumed run differ from an uninterrupted one."""
        ids = [self.device.index] if self.device.type == "cuda" else None
        parallel = DistributedDataParallel(self.network, device_ids=ids)
        before = {name: tensor.clone() for name, tensor in self.network.state_dict().items()}
        side = self.recipe.image_size
        parallel(torch.zeros(2, 3, side, side, device=self.device)).sum().backward()
        self.network.load_state_dict(before)
        self.optimizer.zero_grad(set_to_none=True)
        return parallel

    @property
    def pictures(self):
        """How many pictures all processes have trained on."""
        return self.steps * self.recipe.batch_size

    def step(self, pieces, progress):
        """One update at ``progress`` epochs from this process's pieces of a batch, each (pictures, labels).

        Returns:
            This process's share of the batch's mean loss, as a tensor, so that a GPU need not be waited for.
        """
        # Whatever draws random numbers draws the same ones after a resumption.
        torch.manual_seed(seed_of(self.seed, self.steps, self.processes.rank))
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.learning_rate_at(progress)
        self.optimizer.zero_grad(set_to_none=True)
        told = 0.0
        for number, (pictures, labels) in enumerate(pieces, start=1):
            # Only the last piece's backward pass has to wait for the other processes.
            waits = number == len(pieces) or self.processes.count == 1
            share = len(labels) / self.recipe.batch_size
            with contextlib.nullcontext() if waits else self.parallel.no_sync():
                pictures, labels = self.mix(pictures, labels)
                with torch.autocast(self.device.type, self.precision, enabled=self.precision != torch.float32):
                    loss = self.loss(self.forward(pictures), labels)
                # The processes' gradients are averaged, so each brings its share of the sum times their number.
                self.scaler.scale(loss * (share * self.processes.count)).backward()
            told = told + loss.detach().double() * share
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.average:
            self.average.update_parameters(self.network)
        self.steps += 1
        return told

    def epoch(self, epoch, request, save):
        """Train what is left of an epoch; yield a point of the curve some ten times, its loss the mean since the last.

        Args:
            request: a ``StopRequest``, or None where nothing can be saved.
            save: is called without arguments to keep the state inside the epoch.
        """
        self.network.train()
        batches = len(self.images.train) // self.recipe.batch_size
        ends = {batches * (part + 1) // POINTS_PER_EPOCH for part in range(POINTS_PER_EPOCH)}
        first, start = self.steps - epoch * batches + 1, time.perf_counter()
        spent, waited = 0.0, 0.0  # since the curve's last point, checkpoints left out
        saved, last_save = self.steps, start
        for number in range(first, batches + 1):
            before = time.perf_counter()
            pieces = self._next_batch()
            waited += time.perf_counter() - before
            # The rate of the step's end, so that the first step of the warm-up is not wasted on a rate of 0.
            self.total = self.total + self.step(pieces, epoch + number / batches)
            self.count += 1
            now = time.perf_counter()
            if number in ends:
                (self.total,) = self.processes.sum(float(self.total))  # waits for the GPU
                self.last_loss = round(self.total / self.count, 5)
                now = time.perf_counter()
                self.seconds += now - start
                spent += now - start
                self._check(self.last_loss < float("inf"), "loss is")
                point = {**self._place(), "loss": self.last_loss}
                if self.recipe.augmentation != "batches":
                    point["waiting"] = round(waited / spent, 3)
                yield point
                self.total, self.count = 0.0, 0
                start, spent, waited = time.perf_counter(), 0.0, 0.0
            if request:
                due = self.engine.save_steps and self.steps - saved >= self.engine.save_steps
                due = due or now - last_save > 60 * self.engine.save_minutes
                leave, due = self.processes.any(request.made, bool(due) and self.processes.first)
                if leave or due:
                    (total,) = self.processes.sum(float(self.total))
                    self.total = total if self.processes.first else 0.0
                    self.seconds += time.perf_counter() - start
                    spent += time.perf_counter() - start
                    save()
                    saved, last_save, start = self.steps, time.perf_counter(), time.perf_counter()
                if leave:
                    raise Stopped(
                        f"Stopped after {self.pictures:,} pictures, and saved; the same command goes on from there."
                    )

    def _next_batch(self):
        """This process's pieces of the next batch."""
        if self.stream is None:
            self.stream = training_stream(
                self.images,
                self.recipe,
                self.seed,
                self.steps,
                self.device,
                self.processes,
                self.engine.at_once,
                self.workers,
            )
        mine = len(range(self.processes.rank, self.recipe.batch_size, self.processes.count))
        pieces = []
        while mine > 0:
            pieces.append(next(self.stream))
            mine -= len(pieces[-1][1])
        return pieces

    def judged(self):
        """A point of the curve with the accuracy."""
        self.processes.share(self.network.buffers())  # each process has seen other pictures, and BatchNorm keeps count
        point = {**self._place(), "loss": self.last_loss}
        point["accuracy"] = evaluate(self.result(), self.validation, self.device, self.processes)
        if self.average:
            point["accuracy_unaveraged"] = evaluate(self.network, self.validation, self.device, self.processes)
        return point

    def result(self):
        """The network that the run leaves, in evaluation mode."""
        return (self.average.module if self.average else self.network).eval()

    def _place(self):
        return {"pictures": self.pictures, "seconds": round(self.seconds, 2)}

    def _check(self, fine, what):
        if not fine:
            raise TrainingError(
                f"The {what} no longer a number after {self.pictures} pictures; choose a lower learning_rate than "
                f"{self.recipe.learning_rate}."
            )

    def state(self, curve):
        """Everything that a checkpoint keeps.

        Raises:
            TrainingError: a weight is no longer a number; the checkpoint before it is worth more.
        """
        self._check(all(bool(weight.isfinite().all()) for weight in self.network.parameters()), "weights are")
        judged = [point for point in curve if "accuracy" in point]
        best = max(judged, key=lambda point: point["accuracy"]) if judged else None
        parts = {name: getattr(self, name).state_dict() for name in PARTS if getattr(self, name)}
        numbers = {name: getattr(self, name) for name in NUMBERS}
        return {"classes": self.classes, "curve": curve, "best": best, **numbers, **parts}

    def restore(self, saved, folder):
        """Go to the state of a checkpoint, where there is one; return the curve up to there."""
        steps = saved["steps"] if saved else 0
        if self.processes.sum(steps)[0] != steps * self.processes.count:
            raise TrainingError(
                f"The processes find different checkpoints in {folder}; it has to be on a disk that all machines share."
            )
        if not saved:
            return []
        for name in PARTS:
            if name in saved:
                getattr(self, name).load_state_dict(saved[name])
        for name in NUMBERS:
            setattr(self, name, saved[name])
        if not self.processes.first:
            self.total = 0.0  # the first process brings what all had added up
        return saved["curve"]


def where_they_are_needed(images, recipe, device):
    """Pictures that are altered in batches live on the device; those that a loader alters move there afterwards."""
    return images.to(device) if recipe.augmentation == "batches" else images


def _as_it_runs(experiment, images, processes):
    """The experiment as this machine runs it: cut down in fast mode; checked against the pictures."""
    if fast_mode():
        experiment = Experiment(experiment.architecture, experiment.recipe.fast(), experiment.seed)
    recipe = experiment.recipe
    if not isinstance(images, Images) and recipe.augmentation == "batches":
        raise TrainingError(f"The recipe '{recipe.name}' works on pictures in memory; load them with load_images.")
    if isinstance(images, Images) and images.size != recipe.validation_size:
        raise TrainingError(
            f"The recipe takes pictures of {recipe.validation_size} px, and these have {images.size}; "
            f"load them with size={recipe.validation_size}."
        )
    if processes.count > recipe.batch_size:
        raise TrainingError(
            f"{processes.count} processes cannot share a batch of {recipe.batch_size} pictures; start fewer."
        )
    if len(images.train) < recipe.batch_size:
        raise TrainingError(
            f"{len(images.train)} training pictures do not fill one batch of {recipe.batch_size}; "
            "choose a smaller batch_size."
        )
    return experiment
