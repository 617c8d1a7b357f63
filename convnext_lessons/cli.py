"""``convnext-lessons``, or ``python -m convnext_lessons``: the course's commands."""

import argparse
import contextlib
import os
import signal
import sys
from datetime import timedelta
from pathlib import Path

from convnext_lessons.doctor import doctor
from convnext_lessons.system.errors import CourseError
from convnext_lessons.system.settings import fast_mode


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


def lab(options):
    """Open the learner's own copies in JupyterLab, at the first lesson."""
    from jupyterlab.labapp import LabApp

    from convnext_lessons.classroom.notebooks import copy_lessons, learners_folder

    folder = Path(options.folder or learners_folder()).resolve()
    copies = copy_lessons(folder)
    print(f"Your copies of the lessons are in {folder}; what you change there stays yours.", flush=True)
    settings = [f"--ServerApp.root_dir={folder}", "--ServerApp.ip=127.0.0.1"]
    settings.append(f"--LabApp.default_url=/lab/tree/{copies[0].name}")
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        settings.append("--allow-root")  # in containers there is nobody else; only this machine and the token get in
    # Kernels run the file that this variable names before a lesson's first cell.
    os.environ.setdefault("PYTHONSTARTUP", str(Path(__file__).parent / "classroom" / "startup.py"))
    LabApp.launch_instance(argv=[*settings, *options.jupyter])
    return 0


def run(options):
    """Execute lessons without a browser."""
    from convnext_lessons.classroom.notebooks import execute, find_lesson, learners_folder, list_lessons

    if options.in_place and (options.fast or fast_mode()):
        raise CourseError(
            "Fast mode's results mean nothing and are not written into the lessons; leave out --in-place."
        )
    for path in [find_lesson(number) for number in options.lessons] or list_lessons():
        to = path if options.in_place else Path(options.to or learners_folder() / "executed") / path.name
        execute(path, to, fast=options.fast, real=options.in_place)
        print(f"{path.name}: every cell ran; written to {to}", flush=True)
    return 0


def train(options):
    """Train one step of the road, alone or under torchrun; DIR/log.jsonl and DIR/last.pt stay, and it resumes."""
    from convnext_lessons.data import open_images
    from convnext_lessons.runs import make_experiment, recipe_of
    from convnext_lessons.system.distributed import Stopped, init_distributed
    from convnext_lessons.training import TrainOptions
    from convnext_lessons.training import train as run_training

    recipe = recipe_of(options.recipe)
    if options.epochs:
        recipe = recipe.change(epochs=options.epochs)
    experiment = make_experiment(options.step, recipe, options.seed)
    with init_distributed(options.device) as process:
        device = process.device(options.device)
        with process.local_main_first():
            images = open_images(recipe, options.images)
        if process.is_main:
            print(f"step {experiment.step}, recipe {recipe.name}, seed {experiment.seed}, on {images.note}", flush=True)
            if process.world_size > 1:
                print(f"{process.world_size} processes", flush=True)
        try:
            run = run_training(
                experiment,
                images,
                device=device,
                report=_Console(recipe.fast() if fast_mode() else recipe, len(images.train)),
                folder=options.out,
                options=TrainOptions(
                    process,
                    micro_batch_size=options.micro_batch,
                    workers=options.workers,
                    save_minutes=options.save_minutes,
                    save_steps=options.save_steps,
                    compile=options.compile,
                ),
            )
        except Stopped as stopped:
            if process.is_main:
                print(stopped, flush=True)
            return 128 + signal.SIGTERM
    return 0 if run.record["status"] == "complete" else 130


def shards(options):
    """Pack a folder with train/ and val/ into tar files, for data sets that are read over a network."""
    from convnext_lessons.data.tar_shards import write_shards

    print(f"written: {write_shards(options.source, options.folder)}; train on it with --images.")
    return 0


class _Console:
    """Prints a line for every point of a run's curve: how far, how fast, how well, and when it will be done."""

    def __init__(self, recipe, count):
        self.pictures = count // recipe.batch_size * recipe.batch_size * recipe.epochs
        self.before = None

    def __call__(self, point):
        words = f"{point['pictures']:>11,} pictures"
        words += f"  loss {point['loss']:.3f}" if point["loss"] is not None else ""
        pictures, seconds = (point[name] - (self.before or point)[name] for name in ("pictures", "seconds"))
        if pictures and seconds:
            rate = pictures / seconds
            left = timedelta(seconds=round((self.pictures - point["pictures"]) / rate))
            words += f"  {rate:,.0f} images/s  {left} left"
        words += f"  waiting {point['waiting']:.0%}" if "waiting" in point else ""
        words += f"  accuracy {point['accuracy']:.1%}" if "accuracy" in point else ""
        words += f" (unaveraged {point['accuracy_unaveraged']:.1%})" if "accuracy_unaveraged" in point else ""
        print(words, flush=True)
        self.before = point


def reference(options):
    """Make what is missing of a collection of stored runs."""
    from convnext_lessons.experiments.collections import make_collection, make_times, pilot_table
    from convnext_lessons.experiments.engine import make_engine
    from convnext_lessons.experiments.gpu import make_on_gpu
    from convnext_lessons.experiments.sprints import make_sprints
    from convnext_lessons.runs import reference_runs

    measurements = {
        "times": make_times,
        "engine": make_engine,
        "sprints": make_sprints,
        "gpu": lambda: make_on_gpu(options.minutes),
    }
    if options.collection in measurements:
        measurements[options.collection]()
        return 0
    make_collection(options.collection, options.processes)
    if options.collection == "pilot":
        print(pilot_table(reference_runs("pilot")).markdown())
    return 0


def bench(options):
    """Measure the course's speed beside that of torchvision and timm, and what a learner waits for."""
    from convnext_lessons.experiments.benchmark import benchmark_tables, make_benchmark
    from convnext_lessons.runs import read_measurements

    make_benchmark()
    print("\n\n".join(table.markdown() for table in benchmark_tables(read_measurements("bench"))))
    return 0


def picture(options):
    """Draw the road, summed up, into data/road.png for the README."""
    from convnext_lessons.experiments.road_picture import draw_road_picture

    print(f"drawn: {draw_road_picture()}")
    return 0


def stamp(options):
    """Write the repository's address, from pyproject.toml, into every lesson: Colab badge and set-up cell."""
    from convnext_lessons.classroom.colab import repository_address
    from convnext_lessons.classroom.notebooks import stamp_lessons

    url = repository_address()
    changed = stamp_lessons(url)
    print(f"{len(changed)} lessons changed; they now say {url or 'no address: set Repository under [project.urls]'}.")
    return 0


LARGEST_NUMBER = 2**31 - 1  # torch counts in 64 bits, and multiplies such numbers with each other


def _whole_number(words, least=1):
    if not words.isdecimal() or len(words) > 10 or not least <= int(words) <= LARGEST_NUMBER:
        raise argparse.ArgumentTypeError(f"{words[:40]!r} is not a whole number of at least {least}")
    return int(words)


def _count(words):
    return _whole_number(words, least=0)


def _minutes(words):
    with contextlib.suppress(ValueError):
        if float(words) >= 0:  # which no nan is
            return float(words)
    raise argparse.ArgumentTypeError(f"{words!r} is not a number of minutes, 0 or more")


def _name(words):
    if not words or "\0" in words:
        raise argparse.ArgumentTypeError(f"{words!r} is no name of a file or folder")
    return words


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
    added.add_argument("--step", default="11", metavar="LABEL", help="0 to 11, or 3a, 6a, 6c, 6d, 11a (%(default)s)")
    added.add_argument("--recipe", default="pocket", metavar="NAME", help="pocket, lesson, paper, … (%(default)s)")
    added.add_argument(
        "--images",
        type=_name,
        metavar="WHICH",
        help="imagenette, imagewoof, stand-in, a folder with train/ and val/, or shards.json",
    )
    added.add_argument("--epochs", type=_whole_number, metavar="N", help="instead of the recipe's")
    added.add_argument("--seed", type=_count, default=0, metavar="N")
    added.add_argument("--out", required=True, type=_name, metavar="DIR")
    added.add_argument("--device", metavar="NAME", help="cpu or cuda; the best there is unless given")
    added.add_argument(
        "--micro-batch", type=_whole_number, metavar="N", help="most pictures in a forward pass on one device"
    )
    added.add_argument("--workers", type=_count, metavar="N", help="loader processes for each training process")
    added.add_argument(
        "--save-minutes", type=_minutes, default=10.0, metavar="N", help="between checkpoints (%(default)s)"
    )
    added.add_argument("--save-steps", type=_whole_number, metavar="N", help="the same in steps")
    added.add_argument("--compile", action="store_true", help="compile the network with torch.compile first")

    added = command(shards)
    added.add_argument(
        "source", type=_name, metavar="SOURCE", help="a folder with train/ and val/, a folder in them for each class"
    )
    added.add_argument("folder", type=_name, metavar="DIR", help="a new folder for the tar files and shards.json")

    added = command(reference)
    added.add_argument(
        "collection",
        help="pilot, pocket, trials, budgets; gpu, all that wants a GPU; sprints; times of all steps; engine, what the "
        "machinery costs",
    )
    added.add_argument(
        "--processes", type=_whole_number, default=2, help="runs at a time, one thread each (%(default)s)"
    )
    added.add_argument("--minutes", type=_minutes, default=10.0, help="of gpu, until the next call (%(default)s)")

    command(bench)
    command(picture)
    command(stamp)
    command(doctor)
    return parser
