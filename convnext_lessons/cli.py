"""``convnext-lessons``, or ``python -m convnext_lessons``: the course's commands."""

import argparse
import importlib.util
import os
import platform
import shutil
import signal
import socket
import sys
import tempfile
from pathlib import Path

from convnext_lessons.machine import CourseError, data_folder, fast_mode

GIGA = 1e9


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

    from convnext_lessons.lessons import copy_lessons, learners_folder

    folder = Path(options.folder or learners_folder()).resolve()
    copies = copy_lessons(folder)
    print(f"Your copies of the lessons are in {folder}; what you change there stays yours.", flush=True)
    settings = [f"--ServerApp.root_dir={folder}", "--ServerApp.ip=127.0.0.1"]
    settings.append(f"--LabApp.default_url=/lab/tree/{copies[0].name}")
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        settings.append("--allow-root")  # in containers there is nobody else; only this machine and the token get in
    LabApp.launch_instance(argv=[*settings, *options.jupyter])
    return 0


def run(options):
    """Execute lessons without a browser."""
    from convnext_lessons.lessons import execute, find_lesson, learners_folder, lessons

    if options.in_place and (options.fast or fast_mode()):
        raise CourseError(
            "Fast mode's results mean nothing and are not written into the lessons; leave out --in-place."
        )
    for path in [find_lesson(number) for number in options.lessons] or lessons():
        to = path if options.in_place else Path(options.to or learners_folder() / "executed") / path.name
        execute(path, to, fast=options.fast, real=options.in_place)
        print(f"{path.name}: every cell ran; written to {to}", flush=True)
    return 0


def train(options):
    """Train one step of the road, alone or under torchrun; DIR/log.jsonl and DIR/last.pt stay, and it resumes."""
    from convnext_lessons.files import images_for
    from convnext_lessons.processes import Stopped, joined
    from convnext_lessons.recipe import recipe_of
    from convnext_lessons.records import experiment
    from convnext_lessons.training import Engine
    from convnext_lessons.training import train as run_training

    recipe = recipe_of(options.recipe)
    if options.epochs:
        recipe = recipe.change(epochs=options.epochs)
    what = experiment(options.step, recipe, options.seed)
    with joined(options.device) as processes:
        device = processes.device(options.device)
        with processes.in_turn():
            images = images_for(recipe, options.images)
        engine = Engine(
            processes,
            at_once=options.at_once,
            workers=options.workers,
            save_minutes=options.save_minutes,
            save_steps=options.save_steps,
            compiled=options.compile,
        )
        if processes.first:
            print(f"step {what.step}, recipe {recipe.name}, seed {what.seed}, on {images.note}", flush=True)
            if processes.count > 1:
                print(f"{processes.count} processes", flush=True)
        try:
            result = run_training(
                what,
                images,
                device=device,
                report=_Console(recipe.fast() if fast_mode() else recipe, len(images.train)),
                folder=options.out,
                engine=engine,
            )
        except Stopped as stopped:
            if processes.first:
                print(stopped, flush=True)
            return 128 + signal.SIGTERM
    return 0 if result.record["status"] == "complete" else 130


def shards(options):
    """Pack a folder with train/ and val/ into tar files, for data sets that are read over a network."""
    from convnext_lessons.shards import write_shards

    print(f"written: {write_shards(options.source, options.folder)}; train on it with --images.")
    return 0


class _Console:
    """A line for every point of a run's curve: how far, how fast, how well, and when it will be done."""

    def __init__(self, recipe, count):
        self.whole = count // recipe.batch_size * recipe.batch_size * recipe.epochs
        self.before = None

    def __call__(self, point):
        words = f"{point['pictures']:>11,} pictures"
        words += f"  loss {point['loss']:.3f}" if point["loss"] is not None else ""
        pictures, seconds = (point[name] - (self.before or point)[name] for name in ("pictures", "seconds"))
        if pictures and seconds:
            rate = pictures / seconds
            words += f"  {rate:,.0f} images/s  {_duration((self.whole - point['pictures']) / rate)} left"
        words += f"  waiting {point['waiting']:.0%}" if "waiting" in point else ""
        words += f"  accuracy {point['accuracy']:.1%}" if "accuracy" in point else ""
        words += f" (unaveraged {point['accuracy_unaveraged']:.1%})" if "accuracy_unaveraged" in point else ""
        print(words, flush=True)
        self.before = point


def _duration(seconds):
    hours, minutes = divmod(int(seconds) // 60, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {int(seconds) % 60:02d} s"


def reference(options):
    """Make what is missing of a collection of stored runs."""
    from convnext_lessons.budget import make_engine
    from convnext_lessons.gpu import make_on_gpu
    from convnext_lessons.records import reference_runs
    from convnext_lessons.reference import make, make_times, table
    from convnext_lessons.sprints import make_sprints

    measured = {
        "times": make_times,
        "engine": make_engine,
        "sprints": make_sprints,
        "gpu": lambda: make_on_gpu(options.minutes),
    }
    if options.collection in measured:
        measured[options.collection]()
        return 0
    make(options.collection, options.processes)
    if options.collection == "pilot":
        print(table(reference_runs("pilot")))
    return 0


def bench(options):
    """Measure the course's speed beside that of torchvision and timm, and what a learner waits for."""
    from convnext_lessons.bench import bench as measured
    from convnext_lessons.bench import bench_table, make_bench

    make_bench()
    print(bench_table(measured()))
    return 0


def picture(options):
    """Draw the road, summed up, into data/road.png for the README."""
    from convnext_lessons.lessons import draw_road_picture

    print(f"drawn: {draw_road_picture()}")
    return 0


def stamp(options):
    """Write the repository's address, from pyproject.toml, into every lesson: Colab badge and set-up cell."""
    from convnext_lessons.colab import repository
    from convnext_lessons.lessons import stamp_lessons

    url = repository()
    changed = stamp_lessons(url)
    print(f"{len(changed)} lessons changed; they now say {url or 'no address: set Repository under [project.urls]'}.")
    return 0


def doctor(options):
    """Say in plain words what this machine has, and what to do about what is missing."""
    well = True
    for fine, words in _findings():
        well = well and fine
        print(("  ok  " if fine else "  !!  ") + words)
    print("Everything is there." if well else "Lines with !! say what to do.")
    return 0 if well else 1


def _findings():
    """Yield (is it fine, what was found and what to do) for each thing that the course needs."""
    version = platform.python_version()
    fine = sys.version_info >= (3, 11)
    yield (
        fine,
        f"Python {version}"
        + ("" if fine else ": the course needs 3.11 or later; install it and run `make install` again"),
    )
    missing = [
        name
        for name in ("torch", "torchvision", "fvcore", "matplotlib", "scipy", "ipywidgets", "jupyterlab")
        if not _has(name)
    ]
    if missing:
        yield (
            False,
            f"missing packages: {', '.join(missing)}; run `make install`, or `pip install -e .` in the course's folder",
        )
    if _has("torch"):
        yield from _torch_findings()
    if hasattr(os, "sysconf"):
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / GIGA
        fine = memory > 4
        yield (
            fine,
            f"{memory:.0f} GB of memory" + ("" if fine else ": a lesson alone takes about 2; close other programs"),
        )
    folder = data_folder()
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    free = shutil.disk_usage(existing).free / GIGA
    fine = free > 2
    yield (
        fine,
        f"{free:.0f} GB free for {folder}"
        + ("" if fine else ": 2 are needed; free some, or set CONVNEXT_LESSONS_DATA"),
    )
    try:
        tempfile.TemporaryFile(dir=existing).close()
    except OSError as error:
        yield False, f"{existing} cannot be written ({error.strerror}); set CONVNEXT_LESSONS_DATA to a folder that can"
    if _has("torch"):
        yield from _image_findings(folder)
    with socket.socket() as port:
        free_port = port.connect_ex(("127.0.0.1", 8888)) != 0
    yield (
        True,
        "port 8888 is free for JupyterLab" if free_port else "port 8888 is taken; JupyterLab will take the next one",
    )


def _torch_findings():
    import torch
    import torchvision

    yield True, f"torch {torch.__version__}, torchvision {torchvision.__version__}, {torch.get_num_threads()} threads"
    if torch.cuda.is_available():
        memory = torch.cuda.get_device_properties(0).total_memory / GIGA
        yield True, f"GPU: {torch.cuda.get_device_name(0)}, {memory:.0f} GB"
    else:
        yield True, "no GPU: lessons run at pocket scale on the CPU, a training run in a minute or two"


def _image_findings(folder):
    from convnext_lessons.images import COUNTS, imagenette_folder

    if not (folder / "downloads" / "imagenette2-160").exists():
        yield (
            True,
            "Imagenette is not here yet: the first lesson fetches it (about 100 MB), or takes a stand-in",
        )
        return
    try:
        imagenette_folder()
        yield True, f"Imagenette: {COUNTS['train']:,} training and {COUNTS['val']:,} validation pictures"
    except CourseError as error:
        yield False, str(error)


def _positive(words, least=1):
    if not words.isdecimal() or int(words) < least:
        raise argparse.ArgumentTypeError(f"{words!r} is not a whole number of at least {least}")
    return int(words)


def _count(words):
    return _positive(words, least=0)


def _has(name):
    return importlib.util.find_spec(name) is not None


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
    added.add_argument("--folder", metavar="DIR", help="where your copies are (my_lessons, in the course's folder)")

    added = command(run)
    added.add_argument("lessons", nargs="*", type=int, metavar="N", help="numbers of lessons; all unless given")
    added.add_argument(
        "--fast", action="store_true", help="few batches on small stand-in pictures, to see that every cell runs"
    )
    added.add_argument("--to", metavar="DIR", help="where executed copies go (executed, among your copies)")
    added.add_argument("--in-place", action="store_true", help="write the results into the lessons themselves")

    added = command(train)
    added.add_argument("--step", default="11", metavar="LABEL", help="0 to 11, or 3a, 6a, 6c, 6d, 11a (%(default)s)")
    added.add_argument("--recipe", default="pocket", metavar="NAME", help="pocket, lesson, paper, … (%(default)s)")
    added.add_argument(
        "--images", metavar="WHICH", help="imagenette, stand-in, a folder with train/ and val/, or shards.json"
    )
    added.add_argument("--epochs", type=_positive, metavar="N", help="instead of the recipe's")
    added.add_argument("--seed", type=int, default=0)
    added.add_argument("--out", required=True, metavar="DIR")
    added.add_argument("--device", metavar="NAME", help="cpu or cuda; the best there is unless given")
    added.add_argument("--at-once", type=_positive, metavar="N", help="most pictures in a forward pass on one device")
    added.add_argument("--workers", type=_count, metavar="N", help="loader processes for each training process")
    added.add_argument(
        "--save-minutes", type=float, default=10.0, metavar="N", help="between checkpoints (%(default)s)"
    )
    added.add_argument("--save-steps", type=_positive, metavar="N", help="the same in steps")
    added.add_argument("--compile", action="store_true", help="translate the network with torch.compile first")

    added = command(shards)
    added.add_argument(
        "source", metavar="SOURCE", help="a folder with train/ and val/, a folder in them for each class"
    )
    added.add_argument("folder", metavar="DIR", help="a new folder for the tar files and shards.json")

    added = command(reference)
    added.add_argument(
        "collection",
        help="pilot, pocket, trials, budgets; gpu, all that wants a GPU; sprints; times of all steps; engine, what the "
        "machinery costs",
    )
    added.add_argument("--processes", type=int, default=2, help="runs at a time, one thread each (%(default)s)")
    added.add_argument("--minutes", type=float, default=10.0, help="of gpu, until the next call (%(default)s)")

    command(bench)
    command(picture)
    command(stamp)
    command(doctor)
    return parser
