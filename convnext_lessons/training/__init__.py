"""From an experiment to a trained network.

``train`` is the one training loop, from a minute on a laptop to many GPUs for days; ``load_run`` gives what a run left.
Checkpoints, what training costs in time, and the use of pretrained weights stand beside it.
"""

from convnext_lessons.training.budget import Budget, BudgetError, measure_loader_rate, measure_step_rate
from convnext_lessons.training.checkpoints import CheckpointError, read_log
from convnext_lessons.training.trainer import (
    Run,
    Trainer,
    TrainingError,
    TrainOptions,
    estimate_seconds,
    evaluate,
    load_run,
    make_network,
    train,
)
from convnext_lessons.training.transfer import (
    PRETRAINED,
    TransferError,
    extract_features,
    linear_probe,
    load_pretrained,
    pretrained_predictions,
)

__all__ = [
    "PRETRAINED",
    "Budget",
    "BudgetError",
    "CheckpointError",
    "Run",
    "TrainOptions",
    "Trainer",
    "TrainingError",
    "TransferError",
    "estimate_seconds",
    "evaluate",
    "extract_features",
    "linear_probe",
    "load_pretrained",
    "load_run",
    "make_network",
    "measure_loader_rate",
    "measure_step_rate",
    "pretrained_predictions",
    "read_log",
    "train",
]
