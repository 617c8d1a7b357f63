"""What the commands of ``cli`` do; each takes its parsed options and returns an exit status."""

import json
import math
import os
import signal
from datetime import timedelta
from pathlib import Path

from convnext_lessons.system.errors import CourseError
from convnext_lessons.system.settings import fast_mode


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
    classroom = Path(__file__).parent / "classroom"
    os.environ.setdefault("PYTHONSTARTUP", str(classroom / "startup.py"))
    # Defaults of JupyterLab's that a learner may still change: no question about news over the first lesson.
    others = os.environ.get("JUPYTER_CONFIG_PATH")
    os.environ["JUPYTER_CONFIG_PATH"] = os.pathsep.join(filter(None, (str(classroom / "jupyter"), others)))
    LabApp.launch_instance(argv=[*settings, *options.jupyter])
    return 0


def run(options):
    """Execute lessons without a browser."""
    from convnext_lessons.classroom.notebooks import execute, find_lesson, learners_folder, list_lessons
    from convnext_lessons.data import load_images
    from convnext_lessons.runs import recipe_of

    if options.in_place and (options.fast or fast_mode()):
        raise CourseError(
            "Fast mode's results mean nothing and are not written into the lessons; leave out --in-place."
        )
    if options.in_place:  # decoded here where need be: what that prints shall not stay on a page
        for size in {recipe_of(name).image_size for name in ("pocket", "lesson", "rehearsal")}:
            load_images(size=size)
    for path in [find_lesson(number) for number in options.lessons] or list_lessons():
        to = path if options.in_place else Path(options.to or learners_folder() / "executed") / path.name
        execute(path, to, fast=options.fast, real=options.in_place)
        print(f"{path.name}: every cell ran; written to {to}", flush=True)
    return 0


def train(options):
    """Train one step of the road, alone or under torchrun; DIR/log.jsonl and DIR/last.pt stay, and it resumes."""
    from convnext_lessons.data import open_images
    from convnext_lessons.runs import make_experiment
    from convnext_lessons.system.distributed import Stopped, init_distributed
    from convnext_lessons.training import TrainOptions, describe_plan, fine_tuning, open_trained
    from convnext_lessons.training import train as run_training

    recipe = _chosen_recipe(options)
    weights = open_trained(options.weights, "cpu") if options.weights else None
    if weights:
        experiment = fine_tuning(weights, recipe, options.seed)
    else:
        experiment = make_experiment(options.step, recipe, options.seed)
    recipe = experiment.recipe
    with init_distributed(options.device) as process:
        device = process.device(options.device)
        with process.local_main_first():
            images = open_images(recipe, options.images)
        work = TrainOptions(
            process,
            micro_batch_size=options.micro_batch,
            workers=options.workers,
            save_minutes=options.save_minutes,
            save_steps=options.save_steps,
            validate_epochs=options.validate_epochs,
            precision=_precision(options.precision),
            compile=options.compile,
        )
        if options.dry_run:
            if process.is_main:
                print(describe_plan(experiment, images, device, work, options.price))
            return 0
        if process.is_main:
            subject = f"{weights.source}, gone on with" if weights else f"step {experiment.step}"
            print(f"{subject}, recipe {recipe.name}, seed {experiment.seed}, on {images.note}", flush=True)
            if process.world_size > 1:
                print(f"{process.world_size} processes", flush=True)
        settings = {"weights": weights} if weights else {}
        try:
            run = run_training(
                experiment,
                images,
                device=device,
                report=_Console(recipe.fast() if fast_mode() else recipe, len(images.train)),
                folder=options.out,
                options=work,
                **settings,
            )
        except Stopped as stopped:
            if process.is_main:
                print(stopped, flush=True)
            return 128 + signal.SIGTERM
    return 0 if run.record["status"] == "complete" else 130


def _chosen_recipe(options):
    """The recipe by name, with what the command line changes in it."""
    from convnext_lessons.runs import recipe_of

    recipe = recipe_of(options.recipe)
    changes = dict(options.set or ())
    if options.epochs:
        changes["epochs"] = options.epochs
    changed = recipe.change(**changes)
    if options.scale_lr:
        if "learning_rate" in changes:
            raise CourseError("--scale-lr scales the recipe's own rate; leave it out, or leave out learning_rate.")
        ratio = changed.batch_size / recipe.batch_size
        factor = ratio if options.scale_lr == "linear" else math.sqrt(ratio)
        changed = changed.change(learning_rate=recipe.learning_rate * factor)
    return changed


def _precision(name):
    import torch

    return getattr(torch, name) if name else None


def evaluate(options):
    """Score a trained network on the validation pictures of a data set, alone or under torchrun."""
    from convnext_lessons.data import open_images
    from convnext_lessons.system.distributed import init_distributed
    from convnext_lessons.training import open_trained

    with init_distributed(options.device) as process:
        device = process.device(options.device)
        with process.local_main_first():
            trained = open_trained(options.weights, device)
            images = open_images(trained.recipe, options.images)
        scores = trained.evaluate(images, process, _precision(options.precision))
        if process.is_main:
            count = len(images.val)
            print(f"{trained.source} on {count:,} pictures of {images.note}:")
            print(f"top-1 {scores.accuracy:.2%}  top-5 {scores.top5:.2%}  loss {scores.loss:.4f}")
    return 0


def predict(options):
    """Say what is on pictures, with probabilities."""
    from convnext_lessons.training import open_trained

    trained = open_trained(options.weights, options.device)
    found = trained.predict(options.pictures, options.top)
    for picture, classes in zip(options.pictures, found, strict=True):
        if options.json:
            print(json.dumps({"picture": picture, "classes": [{"name": n, "probability": p} for n, p in classes]}))
        else:
            print(f"{picture}: {', '.join(f'{name} {share:.1%}' for name, share in classes)}")
    if options.draw:
        from convnext_lessons.figures import draw_answers
        from convnext_lessons.system import atomic

        with atomic(options.draw) as part:
            part.write_bytes(draw_answers(options.pictures, found).png())
    return 0


def export(options):
    """Write a trained network for others: FILE.safetensors or FILE.onnx."""
    from convnext_lessons.training import ExportError, export_onnx, open_trained, save_trained

    suffix = Path(options.file).suffix
    if suffix not in (".safetensors", ".onnx"):
        raise ExportError(f"{options.file} ends in neither .safetensors nor .onnx; say by its end which one you want.")
    if suffix == ".onnx" and options.names:
        raise ExportError("An ONNX file has no names of weights; leave out --names.")
    trained = open_trained(options.weights, "cpu")
    if suffix == ".onnx":
        difference = export_onnx(trained, options.file)
        print(f"written: {options.file}; run once, its outputs differ by at most {difference:.1e} of the largest")
    else:
        save_trained(trained, options.file, options.names)
        print(f"written: {options.file}")
    return 0


def shards(options):
    """Pack a folder with train/ and val/ into tar files, for data sets that are read over a network."""
    from convnext_lessons.data.tar_shards import write_shards

    print(f"written: {write_shards(options.source, options.folder)}; train on it with --images.")
    return 0


def arrange(options):
    """Make a folder with train/ and val/ of ImageNet as it comes from Kaggle, or of Hugging Face's parquet files."""
    from convnext_lessons.data.arrange import arrange

    print(f"made: {arrange(options.source, options.target)}; train on it with --images.")
    return 0


class _Console:
    """Prints a line for every point of a run's curve: how far, how fast, how well, and when it will be done."""

    def __init__(self, recipe, count):
        self.pictures = count // recipe.batch_size * recipe.batch_size * recipe.epochs

    def __call__(self, point):
        words = f"{point['pictures']:>11,} pictures"
        words += f"  loss {point['loss']:.3f}" if point["loss"] is not None else ""
        if "images_per_second" in point:
            rate = point["images_per_second"]
            left = timedelta(seconds=round((self.pictures - point["pictures"]) / rate))
            words += f"  {rate:,.0f} images/s  {left} left"
        words += f"  waiting {point['waiting']:.0%}" if "waiting" in point else ""
        words += f"  accuracy {point['accuracy']:.1%}" if "accuracy" in point else ""
        words += f" (unaveraged {point['accuracy_unaveraged']:.1%})" if "accuracy_unaveraged" in point else ""
        print(words, flush=True)


def reference(options):
    """Make what is missing of a collection of stored runs."""
    from convnext_lessons.experiments.collections import make_collection, make_search, pilot_table
    from convnext_lessons.experiments.engine import make_engine
    from convnext_lessons.experiments.gpu import make_on_gpu
    from convnext_lessons.experiments.next_runs import make_next
    from convnext_lessons.experiments.sprints import make_sprints
    from convnext_lessons.runs import reference_runs

    measurements = {
        "engine": make_engine,
        "sprints": make_sprints,
        "gpu": lambda: make_on_gpu(options.minutes),
        "search": lambda: make_search(options.processes, options.device),
        "next": lambda: make_next(options.processes, options.device),
    }
    if options.collection in measurements:
        measurements[options.collection]()
        return 0
    make_collection(options.collection, options.processes, options.device)
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


def slides(options):
    """Make slides: the reading group's deck, its poster and handout, or with a number the deck of one lesson."""
    from convnext_lessons.publish.deck import execute_reading_group, slides_folder, write_reading_group
    from convnext_lessons.publish.handout import write_handout
    from convnext_lessons.publish.lesson_deck import write_lesson_deck
    from convnext_lessons.publish.poster import write_poster
    from convnext_lessons.publish.printing import print_page

    if options.in_place:
        print(f"executed: {execute_reading_group()}")
        return 0
    folder = Path(options.to) if options.to else slides_folder()
    if options.lesson is None:
        pages = [write_reading_group(folder), write_handout(folder / "handout.html")]
        made = [*pages, write_poster(folder / "poster.pdf")]
    else:
        made = pages = [write_lesson_deck(options.lesson, folder)]
    for path in made:
        print(f"written: {path}", flush=True)
    for page in pages:  # at the end, since it needs a browser, which may be missing
        print(f"written: {print_page(page, page.with_suffix('.pdf'))}", flush=True)
    return 0


def picture(options):
    """Draw the README's pictures into data/."""
    from convnext_lessons.experiments.readme_pictures import draw_readme_pictures

    print(f"drawn: {', '.join(map(str, draw_readme_pictures()))}")
    return 0


def site(options):
    """Make the website of the executed lessons."""
    from convnext_lessons.publish.site import make_site

    print(f"made: {make_site(options.to)}; open its index.html, or put the folder onto any host.")
    return 0


def stamp(options):
    """Write the repository's address, from pyproject.toml, into every lesson: Colab badge and set-up cell."""
    from convnext_lessons.classroom.colab import repository_address
    from convnext_lessons.classroom.notebooks import stamp_lessons

    url = repository_address()
    changed = stamp_lessons(url)
    print(f"{len(changed)} lessons changed; they now say {url or 'no address: set Repository under [project.urls]'}.")
    return 0
