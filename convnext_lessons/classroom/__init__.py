"""What a learner and a presenter touch.

``open_lesson`` begins a lesson and ``repeat`` repeats its comparison; explorers, predictions, exercises and hints stand
inside it. The lessons as files (``notebooks``, ``freshness``, ``colab``) are for the command line; since they need
neither torch nor matplotlib, this face imports each of its names only when it is asked for.
"""

from importlib import import_module

_MODULES = {
    "CostExplorer": "widgets",
    "Explorer": "widgets",
    "PredictionError": "predictions",
    "Predictions": "widgets",
    "check": "exercises",
    "check_layers": "layerwise",
    "count_lines": "source",
    "check_value": "exercises",
    "open_lesson": "session",
    "repeat": "session",
    "score": "predictions",
    "total_score": "total",
}

__all__ = list(_MODULES)


def __getattr__(name):
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__():
    return sorted({*globals(), *__all__})
