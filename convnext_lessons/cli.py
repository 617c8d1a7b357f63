"""``convnext-lessons``, or ``python -m convnext_lessons``: the course's commands."""

import argparse
import contextlib
import json
import sys

from convnext_lessons.commands import (
    arrange,
    bench,
    evaluate,
    export,
    lab,
    picture,
    predict,
    reference,
    run,
    shards,
    site,
    slides,
    stamp,
    train,
)
from convnext_lessons.doctor import doctor
from convnext_lessons.system.errors import CourseError


def main(arguments=None):
    """Run a command; an error of the course is one sentence on stderr and exit status 1."""
    parser = _parser()
    options, rest = parser.parse_known_args(arguments)
    if rest and options.run is not lab:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    options.jupyter = rest
    try:
        return options.run(options)
    except CourseError as error:
        print(f"convnext-lessons: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


LARGEST_NUMBER = 2**31 - 1  # torch counts in 64 bits, and multiplies such numbers with each other


def _whole_number(words, least=1):
    if not words.isdecimal() or len(words) > 10 or not least <= int(words) <= LARGEST_NUMBER:
        raise argparse.ArgumentTypeError(
            f"{words[:40]!r} is not a whole number of at least {least} and at most {LARGEST_NUMBER}"
        )
    return int(words)


def _count(words):
    return _whole_number(words, least=0)


def _minutes(words):
    with contextlib.suppress(ValueError):
        if float(words) >= 0:  # which no nan is
            return float(words)
    raise argparse.ArgumentTypeError(f"{words!r} is not a number of minutes, 0 or more")


def _price(words):
    with contextlib.suppress(ValueError):
        if 0 <= float(words) < float("inf"):
            return float(words)
    raise argparse.ArgumentTypeError(f"{words!r} is not a price, 0 or more")


def _change(words):
    """``name=value`` of a recipe, the value as JSON or else as a word."""
    name, equals, value = words.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"{words!r} is not NAME=VALUE, such as batch_size=64")
    with contextlib.suppress(ValueError):
        value = json.loads(value)
    return name, value


def _name(words):
    if not words or "\0" in words:
        raise argparse.ArgumentTypeError(f"{words!r} is no name of a file or folder")
    return words


PRECISIONS = ("float32", "bfloat16", "float16")
IMAGES = "a data set by name, such as imagenette, a folder with train/ and val/, shards.json, or stand-in"
WEIGHTS = "a run's folder, a file of weights, or resnet50, resnet50-modern, convnext-t as torchvision published them"


def _parser():
    parser = argparse.ArgumentParser(
        prog="convnext-lessons", description="A ResNet-50 becomes a ConvNeXt-T in eleven steps."
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def command(function, **settings):
        words = function.__doc__.splitlines()[0]
        added = commands.add_parser(function.__name__, help=words, description=words, **settings)
        added.set_defaults(run=function)
        return added

    added = command(lab, epilog="Further options, such as --no-browser, go to JupyterLab.")
    added.add_argument(
        "--folder", type=_name, metavar="DIR", help="where your copies are (my_lessons, in the course's folder)"
    )

    added = command(run)
    added.add_argument("lessons", nargs="*", type=int, metavar="N", help="numbers of lessons; all unless given")
    added.add_argument(
        "--fast", action="store_true", help="few batches on small stand-in pictures, to see that every cell runs"
    )
    added.add_argument("--to", type=_name, metavar="DIR", help="where executed copies go (executed, among your copies)")
    added.add_argument("--in-place", action="store_true", help="write the results into the lessons themselves")

    added = command(train)
    added.add_argument("--step", default="11", metavar="LABEL", help="of the road, such as 4 or 3a (%(default)s)")
    added.add_argument("--recipe", default="pocket", metavar="NAME", help="pocket, lesson, paper, … (%(default)s)")
    added.add_argument(
        "--weights", type=_name, metavar="WHICH", help=f"go on from {WEIGHTS}; its network in place of a step's"
    )
    added.add_argument("--images", type=_name, metavar="WHICH", help=IMAGES)
    added.add_argument("--epochs", type=_whole_number, metavar="N", help="instead of the recipe's")
    added.add_argument(
        "--set",
        type=_change,
        nargs="+",
        action="extend",
        metavar="NAME=VALUE",
        help="other numbers of the recipe, such as batch_size=64 warmup_epochs=5",
    )
    added.add_argument(
        "--scale-lr", choices=("linear", "sqrt"), help="the recipe's learning rate by the ratio of the batch sizes"
    )
    added.add_argument(
        "--seed", type=_count, default=0, metavar="N", help="of initialization, order and alterations (%(default)s)"
    )
    added.add_argument(
        "--out", required=True, type=_name, metavar="DIR", help="the run's folder; a run that stopped there goes on"
    )
    added.add_argument("--device", metavar="NAME", help="cpu or cuda; the best there is unless given")
    added.add_argument("--precision", choices=PRECISIONS, help="of the forward pass; the device's best unless given")
    added.add_argument(
        "--micro-batch", type=_whole_number, metavar="N", help="most pictures in a forward pass, to save memory"
    )
    added.add_argument("--workers", type=_count, metavar="N", help="loader processes for each training process")
    added.add_argument(
        "--save-minutes", type=_minutes, default=10.0, metavar="N", help="between checkpoints (%(default)s)"
    )
    added.add_argument("--save-steps", type=_whole_number, metavar="N", help="the same in steps")
    added.add_argument(
        "--validate-epochs", type=_whole_number, default=1, metavar="N", help="between validations (%(default)s)"
    )
    added.add_argument("--compile", action="store_true", help="compile the network with torch.compile first")
    added.add_argument("--dry-run", action="store_true", help="train nothing; print the plan, with measured times")
    added.add_argument("--price", type=_price, default=0.0, metavar="N", help="of a device for an hour, for the plan")

    added = command(evaluate)
    added.add_argument("weights", type=_name, metavar="WEIGHTS", help=WEIGHTS)
    added.add_argument("--images", type=_name, metavar="WHICH", help=IMAGES)
    added.add_argument("--device", metavar="NAME", help="cpu or cuda; the best there is unless given")
    added.add_argument("--precision", choices=PRECISIONS, help="of the forward pass; the device's best unless given")

    added = command(predict)
    added.add_argument("weights", type=_name, metavar="WEIGHTS", help=WEIGHTS)
    added.add_argument("pictures", type=_name, nargs="+", metavar="PICTURE")
    added.add_argument("--top", type=_whole_number, default=5, metavar="N", help="classes a picture (%(default)s)")
    added.add_argument("--json", action="store_true", help="a line of JSON a picture")
    added.add_argument("--draw", type=_name, metavar="FILE", help="also draw pictures and answers into a PNG")
    added.add_argument("--device", metavar="NAME", help="cpu or cuda; the best there is unless given")

    added = command(export)
    added.add_argument("weights", type=_name, metavar="WEIGHTS", help=WEIGHTS)
    added.add_argument("file", type=_name, metavar="FILE", help="ends in .safetensors or .onnx")
    added.add_argument("--names", metavar="WHOSE", help="of the weights: torchvision, timm or authors")

    added = command(shards)
    added.add_argument(
        "source", type=_name, metavar="SOURCE", help="a folder with train/ and val/, a folder in them for each class"
    )
    added.add_argument("folder", type=_name, metavar="DIR", help="a new folder for the tar files and shards.json")

    added = command(arrange)
    added.add_argument(
        "source", type=_name, metavar="SOURCE", help="ImageNet from Kaggle, or a folder of parquet files"
    )
    added.add_argument("target", type=_name, metavar="DIR", help="a new folder, for train/ and val/")

    added = command(reference)
    added.add_argument(
        "collection",
        help="pilot, search, pocket, trials, budgets; next, by the recipe that the search chose; gpu, all that wants a "
        "GPU; sprints; engine, what the machinery costs",
    )
    added.add_argument(
        "--processes", type=_whole_number, default=2, help="runs at a time, one thread each (%(default)s)"
    )
    added.add_argument("--device", metavar="NAME", default="cpu", help="of these runs, cpu or cuda (%(default)s)")
    added.add_argument("--minutes", type=_minutes, default=10.0, help="of gpu, until the next call (%(default)s)")

    added = command(slides)
    added.add_argument(
        "lesson", nargs="?", type=int, metavar="N", help="number of a lesson; the reading group's without"
    )
    added.add_argument("--to", type=_name, metavar="DIR", help="where they go (build/slides)")
    added.add_argument(
        "--in-place", action="store_true", help="execute the reading group's notebook and keep its results, no more"
    )

    command(bench)
    command(picture)

    added = command(site)
    added.add_argument("--to", type=_name, metavar="DIR", help="is replaced as a whole (build/site, in the checkout)")

    command(stamp)
    command(doctor)
    return parser
