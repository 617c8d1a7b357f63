"""The one training loop of the course: on a laptop's two cores, or on many GPUs of several machines for days."""

import contextlib
import itertools
import math
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from convnext_lessons.data.augmentation import Batch, seed_of
from convnext_lessons.data.in_memory import Images
from convnext_lessons.data.loader import AnyImages, Validation, default_workers, images_digest, training_stream
from convnext_lessons.model.network import ResNet, build
from convnext_lessons.model.pretrained import load_weights
from convnext_lessons.runs.recipe import Recipe
from convnext_lessons.runs.records import Experiment, RunRecord, RunStore, record_of
from convnext_lessons.system.devices import synchronize
from convnext_lessons.system.distributed import SINGLE_PROCESS, Process, Stopped, StopRequest
from convnext_lessons.system.errors import CourseError
from convnext_lessons.system.settings import fast_mode
from convnext_lessons.system.storage import ensure_folder
from convnext_lessons.training.checkpoints import WEIGHTS_FILE, CheckpointFolder, checksum
from convnext_lessons.training.evaluation import evaluate_together, precision_for
from convnext_lessons.training.initialization import draw_weights
from convnext_lessons.training.local_batches import RunningStatistics, split_stochastic_depth
from convnext_lessons.training.trained import TrainedNetwork, save_trained

POINTS_PER_EPOCH = 10  # of the curve
PARTS = ("network", "average", "optimizer", "scaler")  # of a trainer, whose state a checkpoint keeps
NUMBERS = ("steps", "epochs_done", "seconds", "loss_sum", "loss_count", "last_loss", "run_id")

Point = dict[str, Any]  # of a curve


class TrainingError(CourseError):
    """A run that cannot start or go on."""


@dataclass(frozen=True)
class TrainOptions:
    """How the work is done; but for rounding none of it changes what is learnt, if the recipe says how large its local
    batches are. Where it does not, the number of processes changes what BatchNorm and mixing see.

    Attributes:
        process: this one among those that ``torchrun`` started, from ``init_distributed``.
        micro_batch_size: most pictures in a forward pass, to save memory; the gradients of several are accumulated.
            BatchNorm needs a whole local batch at a time.
        workers: loader processes for each training process; as many as there are cores unless given.
        save_minutes: between checkpoints inside an epoch; each epoch ends with one anyway.
        save_steps: the same in steps; none unless given.
        validate_epochs: from one validation to the next; the last epoch ends with one anyway.
        precision: the number format of the forward pass in training, a ``torch.dtype``; ``precision_for`` the device
            unless given.
        seconds: after which a run with a folder saves and stops; when it is done unless given.
        compile: compile the network with ``torch.compile`` first, which takes minutes and may pay in hours.
    """

    process: Process = SINGLE_PROCESS
    micro_batch_size: int | None = None
    workers: int | None = None
    save_minutes: float = 10.0
    save_steps: int | None = None
    validate_epochs: int = 1
    precision: torch.dtype | None = None
    seconds: float | None = None
    compile: bool = False


@dataclass(frozen=True)
class Run:
    """A finished or interrupted run: its record (see ``runs.records``) and the trained network in evaluation mode."""

    record: RunRecord
    network: nn.Module

    @property
    def accuracy(self) -> float | None:
        """Share of the validation pictures that are classified right; None where the run stopped before it was
        measured."""
        return self.record["accuracy"]

    def __str__(self):
        result = "accuracy not measured" if self.accuracy is None else f"{self.accuracy:.1%}"
        if self.record["status"] == "interrupted":
            curve = self.record["curve"]
            result += f", interrupted after {curve[-1]['pictures'] if curve else 0:,} pictures"
        step = self.record["step"]
        return f"{f'step {step}' if step else 'beside the road'}, seed {self.record['seed']}: {result}"


def make_network(experiment: Experiment, classes: int, device: torch.device) -> ResNet:
    """The network that an experiment trains: thinned as the recipe says, its weights drawn from the seed."""
    recipe = experiment.recipe
    torch.manual_seed(experiment.seed)
    network = build(
        experiment.architecture.thinner(recipe.width_factor), classes, recipe.stochastic_depth, recipe.layer_scale_init
    )
    draw_weights(network, recipe)
    return network.to(device, memory_format=torch.channels_last)


def fine_tuning(weights: TrainedNetwork, recipe: Recipe, seed: int = 0) -> Experiment:
    """The experiment that goes on from a trained network: its architecture and width, by another recipe."""
    width_factor = weights.recipe.width_factor
    return Experiment(weights.experiment.architecture, recipe.change(width_factor=width_factor), seed)


def train(
    experiment: Experiment,
    images: AnyImages,
    device: str | torch.device | None = None,
    report: Callable[[Point], object] = lambda point: None,
    store: RunStore | None = None,
    folder: str | Path | None = None,
    options: TrainOptions | None = None,
    weights: TrainedNetwork | None = None,
) -> Run:
    """Train an experiment's network and record the run.

    Args:
        experiment: what to train; fast mode cuts its recipe down.
        images: what ``open_images`` gives for the recipe.
        device: where to train; the best there is unless given.
        report: is called with every new point of the curve, ``{"pictures", "seconds", "loss"}``. In training it also
            has ``"images_per_second"``, of all processes since the last point, the last step's ``"learning_rate"`` and
            ``"gradient_norm"`` (None where float16 overflowed and the step was left out), on a GPU ``"memory"`` (bytes,
            the most so far), and ``"waiting"``, the share of the time spent waiting for pictures, where they are read
            one by one.
            After a validation it has ``"accuracy"``, ``"top5"`` and ``"validation_loss"``, and where weights are
            averaged ``"accuracy_unaveraged"``. The loss is None where a run is stopped before it was read for the
            first time.
        store: the ``RunStore`` that gets the record; the learner's own unless given.
        folder: where ``log.jsonl`` and ``last.pt`` go, and ``weights.safetensors`` at the end; a run that stopped there
            goes on where it was saved, and one that is finished is not trained or recorded again.
        options: how the work is done; by this process alone unless given.
        weights: what the network begins with, such as from ``open_trained``, with a new last layer where its classes
            are others; ``fine_tuning`` makes the experiment that fits.

    Returns:
        A ``Run``. Without a folder, an interruption (the stop button, Ctrl-C) ends the training early, and what was
        learnt is kept and recorded.

    Raises:
        TrainingError: the loss is no longer a number, or pictures and recipe do not fit together.
        WeightsError: the weights are of another network.
        CheckpointError: the folder holds another run, or nothing that can be read.
        Locked: another process trains in the folder.
        Stopped: SIGTERM or an interruption came; the state is saved in the folder.
        DeviceError: the device is not there.
    """
    options = options or TrainOptions()
    process = options.process
    device = process.device(device)
    store = store or RunStore()
    ensure_folder(store.path.parent)  # now, so that a folder that cannot be written shows before training
    experiment = prepare_experiment(experiment, images, process)
    recipe = experiment.recipe
    images = move_images(images, recipe, device)
    _check_same_images(images, process)
    torch.backends.cudnn.benchmark = True  # pictures of one size: the fastest algorithms are worth looking for
    signature = {
        "images": images.note,
        "classes": list(images.classes),
        "counts": [len(images.train), len(images.val)],
        **experiment.settings(),
    }
    if weights:
        signature["weights"] = checksum(weights.network.state_dict())
    with CheckpointFolder(folder, signature, process.is_main) as checkpoints:
        trainer = Trainer(experiment, images, device, options, weights)
        curve = trainer.restore(checkpoints.begin(device), folder)
        status = _run_epochs(trainer, checkpoints, curve, report)
        if status == "complete":
            checkpoints.end()
        precision = str(trainer.precision).removeprefix("torch.")
        result = {"processes": process.world_size, "seconds": round(trainer.seconds, 2)}
        if folder is not None:
            result["run_id"] = trainer.run_id
        if weights:
            result["weights"] = weights.source
        record = record_of(experiment, images, device, precision, curve, status, **result)
        if process.is_main:
            store.append(record)
        if status == "complete" and checkpoints.writes:
            trained = TrainedNetwork(trainer.result(), images.classes, experiment, "this run", precision)
            save_trained(trained, checkpoints.folder / WEIGHTS_FILE)
    return Run(record, trainer.result())


def _check_same_images(images, process):
    """Each process numbers the pictures by itself, so they must all have found the same ones."""
    mine = images_digest(images) if process.world_size > 1 else 0
    if process.all_reduce_any(mine != process.all_reduce_sum(mine)[0] / process.world_size)[0]:
        raise TrainingError(
            "The processes find different pictures; every machine needs the same files, in the same class folders."
        )


def _run_epochs(trainer, checkpoints, curve, report):
    """Train what is left of a run; returns ``"complete"`` or ``"interrupted"``."""
    options = trainer.options

    def add(point):
        curve.append(point)
        if options.process.is_main:
            checkpoints.write(point)
            report(point)

    def save():
        if checkpoints.writes:
            checkpoints.save(trainer.state(curve))

    with StopRequest(options.seconds) if checkpoints.folder else contextlib.nullcontext() as request:
        try:
            for epoch in range(trainer.epochs_done, trainer.recipe.epochs):
                for point in trainer.epoch(epoch, request, save):
                    add(point)
                trainer.epochs_done = epoch + 1
                if trainer.epochs_done % options.validate_epochs == 0 or trainer.epochs_done == trainer.recipe.epochs:
                    add(trainer.validate())
                save()
        except KeyboardInterrupt:
            if trainer.steps:
                with contextlib.suppress(KeyboardInterrupt):
                    add(trainer.validate())
            return "interrupted"
    return "complete"


def estimate_seconds(
    experiment: Experiment, images: AnyImages, device: str | torch.device | None = None, batches: int = 3
) -> float:
    """Seconds that ``train`` will take here, validation included, from the fastest of a few batches after one that
    warms up: whatever else the machine does at the moment makes single batches slow."""
    device = SINGLE_PROCESS.device(device)
    experiment = prepare_experiment(experiment, images, SINGLE_PROCESS)
    recipe = experiment.recipe
    images = move_images(images, recipe, device)
    trainer = Trainer(experiment, images, device, TrainOptions())
    stream = training_stream(images, recipe, experiment.seed, 0, device)
    stream = itertools.cycle(itertools.islice(stream, 1 + batches))
    trainer.step([next(stream)], 0.0)
    seconds = []
    for _ in range(batches):
        synchronize(device)
        start = time.perf_counter()
        trainer.step([next(stream)], 0.0)
        synchronize(device)
        seconds.append(time.perf_counter() - start)
    # A validation is the forward third of a training step.
    per_epoch = len(images.train) // recipe.batch_size + len(images.val) / recipe.batch_size / 3
    return min(seconds) * per_epoch * recipe.epochs


class Stopwatch:
    """Seconds of training: what is between ``start`` and ``stop``, so that validation and checkpoints are left out."""

    def __init__(self, seconds: float = 0.0):
        self._before, self._since = seconds, None

    def start(self) -> None:
        self._since = time.perf_counter()

    def stop(self) -> None:
        self._before, self._since = self.seconds, None

    @property
    def seconds(self) -> float:
        return self._before + (0.0 if self._since is None else time.perf_counter() - self._since)


class _SaveClock:
    """Says when the next checkpoint inside an epoch is due, by minutes or by steps."""

    def __init__(self, options, steps):
        self.options = options
        self.done(steps)

    def done(self, steps):
        self.steps, self.time = steps, time.perf_counter()

    def is_due(self, steps):
        by_steps = self.options.save_steps and steps - self.steps >= self.options.save_steps
        return bool(by_steps) or time.perf_counter() - self.time > 60 * self.options.save_minutes


class Trainer:
    """Network, average, optimizer, scaler and how far they have come."""

    def __init__(
        self,
        experiment: Experiment,
        images: AnyImages,
        device: torch.device,
        options: TrainOptions,
        weights: TrainedNetwork | None = None,
    ):
        self.recipe, self.seed, self.images = experiment.recipe, experiment.seed, images
        self.device, self.options, self.process = device, options, options.process
        self.classes = len(images.classes)
        self.network = make_network(experiment, self.classes, device)
        if weights:
            same_classes = tuple(weights.classes) == tuple(images.classes)
            load_weights(self.network, weights.network.state_dict(), new_head=not same_classes)
        self.precision = options.precision or precision_for(device)
        self.average = self.recipe.make_average(self.network)
        self.optimizer = self.recipe.make_optimizer(self.network)
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.precision == torch.float16)
        self.loss, self.mix = self.recipe.make_loss(), self.recipe.make_mixing(self.classes)
        self.steps, self.epochs_done, self.seconds, self.last_loss = 0, 0, 0.0, None
        self.loss_sum, self.loss_count = 0.0, 0  # since the curve's last point
        self.run_id = secrets.token_hex(8)  # by which a store knows a run that it holds already
        self.workers = 0 if fast_mode() else options.workers
        if self.workers is None:
            self.workers = default_workers(self.process)
        self.validation = Validation(images, self.recipe, device, self.process, self.workers)
        self.stream = None  # begins where a checkpoint says
        self.places = len(self.recipe.local_batches(self.process.rank, self.process.world_size))
        count = len(self.recipe.local_batches()) if self.recipe.local_batch_size else self.process.world_size
        self.statistics = RunningStatistics(self.network, self.process, count)
        largest = max(map(len, self.recipe.local_batches()))
        if self.statistics.counters and (options.micro_batch_size or largest) < largest:
            raise TrainingError(
                f"BatchNorm normalizes over {largest} pictures together, more than a micro-batch of "
                f"{options.micro_batch_size}; leave --micro-batch out, or choose smaller local batches (train --set "
                "local_batch_size=…)."
            )
        self.depths = split_stochastic_depth(self.network) if options.micro_batch_size else []
        self.parallel = self._wrap_ddp() if self.process.world_size > 1 else self.network
        self.forward = torch.compile(self.parallel) if options.compile else self.parallel

    def _wrap_ddp(self):
        """The network under ``DistributedDataParallel``, past its first backward pass: after that one it sorts anew in
        which order gradients are added up, which would make a resumed run differ from an uninterrupted one."""
        ids = [self.device.index] if self.device.type == "cuda" else None
        parallel = DistributedDataParallel(self.network, device_ids=ids, gradient_as_bucket_view=True)
        before = {name: tensor.clone() for name, tensor in self.network.state_dict().items()}
        side = self.recipe.image_size
        self._tell_depths(0, 2)
        parallel(torch.zeros(2, 3, side, side, device=self.device)).sum().backward()
        self.network.load_state_dict(before)
        self.optimizer.zero_grad(set_to_none=True)
        return parallel

    @property
    def pictures(self) -> int:
        """How many pictures all ranks have trained on."""
        return self.steps * self.recipe.batch_size

    @property
    def steps_per_epoch(self) -> int:
        """A rest smaller than a batch is left out."""
        return len(self.images.train) // self.recipe.batch_size

    def step(self, local_batches: Iterable[Batch], progress: float) -> torch.Tensor:
        """One update at ``progress`` epochs from this rank's local batches of a batch, each taken when it is needed.

        Returns:
            This rank's share of the batch's mean loss, as a tensor, so that a GPU need not be waited for.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = group.get("rate_factor", 1.0) * self.recipe.learning_rate_at(progress)
        self.optimizer.zero_grad(set_to_none=True)
        loss_sum = 0.0
        self.statistics.begin()
        for place, (pictures, labels) in enumerate(local_batches):
            # Its place in the batch of all ranks, by which it draws: on any rank, and after a resumption.
            number = self.process.rank + place * self.process.world_size
            torch.manual_seed(seed_of(self.seed, self.steps, number))
            pictures, labels = self.mix(pictures, labels)
            size = self.options.micro_batch_size or len(labels)
            for first in range(0, len(labels), size):
                torch.manual_seed(seed_of(self.seed, self.steps, number, "depth"))
                self._tell_depths(first, len(labels))
                part = slice(first, first + size)
                is_last = place + 1 == self.places and part.stop >= len(labels)
                loss_sum = loss_sum + self._accumulate(pictures[part], labels[part], is_last)
            self.statistics.add()
        self.statistics.end()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.average:
            self.average.update_parameters(self.network)
        self.steps += 1
        return loss_sum

    def _tell_depths(self, first, count):
        """Which part of a local batch of ``count`` pictures comes next."""
        for depth in self.depths:
            depth.first, depth.count = first, count

    def _accumulate(self, pictures, labels, is_last):
        """Add the gradients of some of the batch's pictures; return their share of its mean loss."""
        share = len(labels) / self.recipe.batch_size
        # Gradients are all-reduced in the last backward pass only.
        synchronizes = is_last or self.process.world_size == 1
        with contextlib.nullcontext() if synchronizes else self.parallel.no_sync():
            with torch.autocast(self.device.type, self.precision, enabled=self.precision != torch.float32):
                loss = self.loss(self.forward(pictures), labels)
            # DDP averages the ranks' gradients, so each brings its share of the sum times their number.
            self.scaler.scale(loss * (share * self.process.world_size)).backward()
        return loss.detach().double() * share

    def epoch(self, epoch: int, request: StopRequest | None, save: Callable[[], None]) -> Iterator[Point]:
        """Train what is left of an epoch; yield a point of the curve some ten times, its loss the mean since the last.

        Args:
            request: a ``StopRequest``, or None where nothing can be saved.
            save: is called without arguments to keep the state inside the epoch.

        Raises:
            Stopped: the request came; the state is saved.
            TrainingError: the loss is no longer a number.
        """
        self.network.train()
        batches = self.steps_per_epoch
        points_at = {batches * (part + 1) // POINTS_PER_EPOCH for part in range(POINTS_PER_EPOCH)}
        watch, waiting, clock = Stopwatch(self.seconds), Stopwatch(), _SaveClock(self.options, self.steps)
        pictures_before, seconds_before, waited_before = self.pictures, self.seconds, 0.0
        watch.start()
        for number in range(self.steps - epoch * batches + 1, batches + 1):
            # The rate of the step's end, so that the first step of the warm-up is not wasted on a rate of 0.
            self.loss_sum = self.loss_sum + self.step(self._local_batches(waiting), epoch + number / batches)
            self.loss_count += 1
            if number in points_at:
                point, seconds = self._point(watch), watch.seconds - seconds_before
                point["images_per_second"] = float(f"{(self.pictures - pictures_before) / seconds:.4g}")
                if self.recipe.augmentation != "batches":
                    point["waiting"] = round((waiting.seconds - waited_before) / seconds, 3)
                yield point
                pictures_before, seconds_before, waited_before = self.pictures, watch.seconds, waiting.seconds
                watch.start()
            if request:
                self._save_if_due(request, clock, watch, save)

    def _point(self, watch):
        """A point of the curve with the mean loss since the last; the watch stands afterwards."""
        (self.loss_sum,) = self.process.all_reduce_sum(float(self.loss_sum))  # waits for the GPU
        watch.stop()
        self.seconds = watch.seconds
        self.last_loss = round(self.loss_sum / self.loss_count, 5)
        self._check(self.last_loss < float("inf"), "loss is")
        self.loss_sum, self.loss_count = 0.0, 0
        return {**self._progress(), "loss": self.last_loss, **self._inside()}

    def _inside(self):
        """What tells how a run is doing: the last step's rate and length of the gradient, and a GPU's memory."""
        # After a step the gradients are unscaled, whoever scaled them; after one that a scaler skipped they overflow.
        norms = torch._foreach_norm([weight.grad for weight in self.network.parameters() if weight.grad is not None])
        norm = torch.stack(norms).norm().item()
        found = {
            "learning_rate": self.optimizer.param_groups[0]["lr"],
            "gradient_norm": round(norm, 5) if math.isfinite(norm) else None,
        }
        if self.device.type == "cuda":
            found["memory"] = torch.cuda.max_memory_allocated(self.device)
        return found

    def _save_if_due(self, request, clock, watch, save):
        """Save where a checkpoint is due or somebody asked this run to stop; then stop, if so."""
        due = clock.is_due(self.steps) and self.process.is_main
        stop, due = self.process.all_reduce_any(request.requested, due)
        if not stop and not due:
            return
        (loss_sum,) = self.process.all_reduce_sum(float(self.loss_sum))
        self.loss_sum = loss_sum if self.process.is_main else 0.0
        watch.stop()
        self.seconds = watch.seconds
        save()
        clock.done(self.steps)
        watch.start()
        if stop:
            raise Stopped(f"Stopped after {self.pictures:,} pictures, and saved; the same command goes on from there.")

    def _local_batches(self, waiting):
        """Yield this rank's local batches of the next batch, each when it is asked for: a whole batch of the paper's
        would fill 2.5 GB of a GPU's memory. The watch runs while they are waited for."""
        if self.stream is None:
            settings = (self.process, self.workers)
            self.stream = training_stream(self.images, self.recipe, self.seed, self.steps, self.device, *settings)
        for _ in range(self.places):
            waiting.start()
            local_batch = next(self.stream)
            waiting.stop()
            yield local_batch

    def validate(self) -> Point:
        """A point of the curve with the accuracy."""
        point = {**self._progress(), "loss": self.last_loss}
        networks = [self.result(), self.network] if self.average else [self.result()]
        scores = evaluate_together(networks, self.validation, self.device, self.process, self.precision)
        point |= {"accuracy": scores[0].accuracy, "top5": scores[0].top5, "validation_loss": round(scores[0].loss, 5)}
        if self.average:
            point["accuracy_unaveraged"] = scores[1].accuracy
        return point

    def result(self) -> nn.Module:
        """The network that the run leaves, in evaluation mode."""
        return (self.average.module if self.average else self.network).eval()

    def _progress(self):
        return {"pictures": self.pictures, "seconds": round(self.seconds, 2)}

    def _check(self, fine, subject):
        if not fine:
            raise TrainingError(
                f"The {subject} no longer a number after {self.pictures} pictures; choose a lower learning_rate than "
                f"{self.recipe.learning_rate} (train --set learning_rate=…)."
            )

    def state(self, curve: list[Point]) -> dict[str, Any]:
        """Everything that a checkpoint keeps.

        Raises:
            TrainingError: a weight is no longer a number; the checkpoint before it is worth more.
        """
        self._check(all(bool(weight.isfinite().all()) for weight in self.network.parameters()), "weights are")
        validated = [point for point in curve if "accuracy" in point]
        best = max(validated, key=lambda point: point["accuracy"]) if validated else None
        parts = {name: getattr(self, name).state_dict() for name in PARTS if getattr(self, name)}
        numbers = {name: getattr(self, name) for name in NUMBERS}
        precision = str(self.precision).removeprefix("torch.")
        return {"classes": self.classes, "precision": precision, "curve": curve, "best": best, **numbers, **parts}

    def restore(self, saved: Mapping[str, Any] | None, folder: str | Path | None) -> list[Point]:
        """Go to the state of a checkpoint, where there is one; return the curve up to there.

        Raises:
            TrainingError: the ranks found different checkpoints.
        """
        steps = saved["steps"] if saved else 0
        if self.process.all_reduce_sum(steps)[0] != steps * self.process.world_size:
            raise TrainingError(
                f"The processes find different checkpoints in {folder}; it has to be on a disk that all machines share."
            )
        if not saved:
            return []
        for name in PARTS:
            if saved.get(name):  # a scaler's state is empty but in float16, and a run may go on in another format
                getattr(self, name).load_state_dict(saved[name])
        for name in NUMBERS:
            setattr(self, name, saved[name])
        if not self.process.is_main:
            self.loss_sum = 0.0  # rank 0 brings what all had added up
        return saved["curve"]


def move_images(images: AnyImages, recipe: Recipe, device: torch.device) -> AnyImages:
    """Pictures that are augmented in batches live on the device; those that a loader reads move there afterwards."""
    return images.to(device) if recipe.augmentation == "batches" else images


def prepare_experiment(experiment: Experiment, images: AnyImages, process: Process) -> Experiment:
    """The experiment as this machine runs it: cut down in fast mode.

    Raises:
        TrainingError: it does not fit the pictures, or the processes.
    """
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
    if not any(recipe.local_batches(process.world_size - 1, process.world_size)):
        local = f", {recipe.local_batch_size} at a time" if recipe.local_batch_size else ""
        raise TrainingError(
            f"{process.world_size} processes cannot share a batch of {recipe.batch_size} pictures{local}; start fewer."
        )
    if len(images.train) < recipe.batch_size:
        raise TrainingError(
            f"{len(images.train)} training pictures do not fill one batch of {recipe.batch_size}; "
            "choose a smaller batch_size (train --set batch_size=…)."
        )
    return experiment
