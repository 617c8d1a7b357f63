"""From an experiment to a trained network.

``train`` is the one training loop, from a minute on a laptop to many GPUs for days. ``open_trained`` gives what a run
left, or what others published: to evaluate, to classify pictures, to export, to go on from. Checkpoints, and what
training costs in time, stand beside it.
"""

from convnext_lessons.training.budget import Budget, BudgetError, measure_loader_rate, measure_step_rate
from convnext_lessons.training.checkpoints import CheckpointError, read_log
from convnext_lessons.training.evaluation import Scores, evaluate
from convnext_lessons.training.export import ExportError, export_onnx
from convnext_lessons.training.follow import follow
from convnext_lessons.training.plan import describe_plan
from convnext_lessons.training.trained import PUBLISHED, TrainedNetwork, load_run, open_trained, save_trained
from convnext_lessons.training.trainer import (
    Run,
    Trainer,
    TrainingError,
    TrainOptions,
    estimate_seconds,
    fine_tuning,
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
    "PUBLISHED",
    "Budget",
    "BudgetError",
    "CheckpointError",
    "ExportError",
    "Run",
    "Scores",
    "TrainOptions",
    "TrainedNetwork",
    "Trainer",
    "TrainingError",
    "TransferError",
    "describe_plan",
    "estimate_seconds",
    "evaluate",
    "export_onnx",
    "extract_features",
    "fine_tuning",
    "follow",
    "linear_probe",
    "load_pretrained",
    "load_run",
    "make_network",
    "measure_loader_rate",
    "measure_step_rate",
    "open_trained",
    "pretrained_predictions",
    "read_log",
    "save_trained",
    "train",
]
