"""Inputs that nobody should give and somebody will: what each is, what came out of it, and whether that is right.

A part is a generator of cases; what it makes before it yields a case is there while the case is tried. ``try_all`` goes
through them, ``page`` makes a table of what came out.
"""

import contextlib
import io
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
import urllib.error
import urllib.request
import warnings
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np
import torch
import torchvision
from PIL import Image
from torch import nn

from convnext_lessons import cli
from convnext_lessons.classroom import check, check_value, open_lesson, score
from convnext_lessons.classroom.notebooks import copy_lessons
from convnext_lessons.classroom.predictions import predict, read_predictions
from convnext_lessons.data import DATASETS, IMAGENETTE, DataSet, load_images
from convnext_lessons.data.folders import open_splits, read_image
from convnext_lessons.figures.tables import Table
from convnext_lessons.model import (
    RESNET50,
    architecture_after,
    build,
    count,
    load_torchvision_weights,
    paper_after,
)
from convnext_lessons.model.cost import CostKind
from convnext_lessons.model.layers import build_on_meta
from convnext_lessons.runs import PAPER, POCKET, RECIPES, RunStore, make_experiment, read_measurements, recipe_of
from convnext_lessons.system.errors import CourseError
from convnext_lessons.system.storage import ensure_folder
from convnext_lessons.training import load_pretrained, make_network

ROOT = Path(__file__).parents[2]
SECONDS = 20  # after which a case counts as hung
LONGEST = 600  # letters of a sentence, names that were given included
NOBODY = 65534  # a user who may not read what is not everybody's


class Case(NamedTuple):
    """One input.

    Attributes:
        words: what the input is called in the table.
        act: gives the input to the course.
        right: of what ``act`` returned: was it right to accept the input like this? None where it must be refused.
    """

    words: str
    act: Callable[[], Any]
    right: Callable[[Any], bool] | None = None


class Done(NamedTuple):
    """A command that ended: its exit status and what it printed."""

    status: int
    out: str
    err: str


class Outcome(NamedTuple):
    """What came out of an input of some part, in words, and whether that is fine."""

    part: str
    input: str
    words: str
    fine: bool


class Hung(BaseException):
    """A case that takes too long; no ``except Exception`` of the course takes it for its own."""


def try_all(place: Path) -> list[Outcome]:
    """Try the cases of all parts, in a folder of their own."""
    tiny = {"image_size": 32, "width_factor": 1 / 16, "epochs": 1, "batch_size": 8, "warmup_epochs": 0.5}
    recipes = {"tiny": PAPER.change(name="tiny", **tiny), "tinypocket": POCKET.change(name="tinypocket", **tiny)}
    settings = {"CONVNEXT_LESSONS_FAST": "1", "CONVNEXT_LESSONS_DATA": str(place / "data")}
    place.chmod(0o777)  # for the cases that nobody tries
    with patch.dict(RECIPES, recipes), patch.dict(os.environ, settings), contextlib.chdir(place):
        os.environ.pop("CONVNEXT_LESSONS_IMAGES", None)
        return [Outcome(title, case.words, *_try(case, place)) for title, part in PARTS.items() for case in part(place)]


def _try(case, place):
    """(what came out, whether that is fine)"""
    try:
        with warnings.catch_warnings(), _time_limit(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            value = case.act()
    except CourseError as error:
        words = f"{type(error).__name__}: {error}"
        fine = case.right is None and is_sentence(str(error))
    except (Exception, SystemExit, Hung) as error:
        words, fine = f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}", False
    else:
        if isinstance(value, Done) and value.status:
            words = f"status {value.status}: {value.err or value.out}"
            usage = value.status == 2 and ": error: " in value.err  # argparse's own words
            fine = case.right is None and (usage or is_sentence(value.err))
        else:
            last = [*value.out.splitlines(), ""][-2:][0].strip() if isinstance(value, Done) else value
            words = f"accepted: {last}"
            fine = case.right is not None and bool(case.right(value))
    if any(place.glob("**/.*.part")):
        words, fine = f"{words} (and something half-written stays)", False
    return _without_chance(words, place), fine


def is_sentence(words: str) -> bool:
    """One plain sentence, nothing of Python's."""
    of_python = ("Traceback", "object at 0x", "<class ", "<urlopen ")
    return (
        "\n" not in words
        and words.endswith((".", "?"))
        and len(words) <= LONGEST
        and not any(part in words for part in of_python)
    )


def page(outcomes: list[Outcome]) -> str:
    """The outcomes as a page of Markdown, counts first."""
    inputs = Counter(outcome.part for outcome in outcomes)
    fine = Counter(outcome.part for outcome in outcomes if outcome.fine)
    counts = [(part, str(inputs[part]), str(fine[part])) for part in inputs]
    counts.append(("all", str(inputs.total()), str(fine.total())))
    rows = [[*map(_in_a_cell, outcome[:3]), "fine" if outcome.fine else "**no**"] for outcome in outcomes]
    return "\n\n".join(
        (
            "# Bad inputs",
            "What the course does with each, under Python 3.11 and the versions in constraints.txt; `test_inputs.py` "
            "writes this page.\n"
            "Fine is one plain sentence and a failing exit status, or a right acceptance.",
            Table(("part", "inputs", "fine"), counts).markdown(),
            Table(("part", "input", "what came out", "fine"), rows).markdown() + "\n",
        )
    )


def _in_a_cell(words):
    printable = "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in words)
    short = printable if len(printable) <= 240 else f"{printable[:240]} …"
    return short.replace("|", "\\|").replace("<", "&lt;")


def _without_chance(words, place):
    """Words without what differs from machine to machine and from time to time."""
    for path, name in ((place, "TMP"), (place.resolve(), "TMP"), (ROOT, "PROJECT"), (Path.home(), "HOME")):
        words = words.replace(str(path), name)
    for pattern, name in (
        (r"\x1b\[[\d;]*m", ""),
        (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+", "TIME"),
        (r"(127\.0\.0\.1:|port )\d{4,5}", r"\1PORT"),
        (r"\?token=\w+", ""),
        (r"\d+ GB", "N GB"),
        (r"sees \d+ GPUs", "sees N GPUs"),
        (r" +loss .*", ""),
    ):
        words = re.sub(pattern, name, words)
    return words.strip()


@contextlib.contextmanager
def _time_limit():
    def stop(*_):
        raise Hung(f"hung for {SECONDS} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


# Commands -------------------------------------------------------------------------------------------------------------

FULL = {"CONVNEXT_LESSONS_FAST": "0"}  # settings for inputs that fast mode would not look at


def command(*arguments: str, **settings: str) -> Callable[[], Done]:
    """The command line, in this process."""

    def act():
        out, err = io.StringIO(), io.StringIO()
        with patch.dict(os.environ, settings), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                status = cli.main([*map(str, arguments)])
            except SystemExit as left:
                status = left.code
        error = err.getvalue()
        return Done(status, out.getvalue(), error.strip().splitlines()[-1] if status == 2 else error.rstrip("\n"))

    return act


def train(*options: str, recipe: str = "pocket", **settings: str) -> Callable[[], Done]:
    """A run into a folder of its own."""
    arguments = [] if "--out" in options else ["--out", f"run {next(_numbers)}"]
    return command("train", *arguments, "--recipe", recipe, "--workers", "0", *options, **settings)


_numbers = iter(range(10**9))


def trained(done: Done) -> bool:
    """Did a run come to its end?"""
    return done.status == 0 and "accuracy" in done.out.splitlines()[-1]


def command_line(place: Path) -> Iterator[Case]:
    yield Case("no command", command())
    yield Case("unknown command", command("fly"))
    yield Case("train without --out", command("train"))
    for words, out, right in (
        ("''", "", None),
        ("is a file", ROOT / "README.md", None),
        ("under a file", ROOT / "README.md" / "x", None),
        ("with a NUL", "a\0b", None),
        ("name of 300 letters", "x" * 300, None),
        ("with newline and umlaut", "zwei\nWörter", trained),
    ):
        yield Case(f"train --out {words}", train("--out", out), right)
    for option, values in REFUSED_VALUES.items():
        for value in values:
            shown = f"{value[:20]}{'…' * (len(value) > 20)}"
            yield Case(f"train {option} {shown!r}", train(f"{option}={value}"))
    for option, value in ACCEPTED_VALUES:
        yield Case(f"train {option} {value!r}", train(f"{option}={value}"), trained)
    yield Case("train --recipe rehearsal --epochs 1 (its warm-up is 1)", train("--epochs=1", recipe="rehearsal"))
    yield Case("train --nonsense", train("--nonsense"))
    yield Case("train with a lonely word", train("word"))
    yield from _images_of_the_command_line(place)
    yield from _after_a_run(place)
    yield from _other_commands(place)
    yield from _data_folders(place)


REFUSED_VALUES = {
    "--step": ["12", "-1", "", "3z", "11.0", "1e1", "３", "None", "../..", "3" * 200, "3\n"],
    "--recipe": ["", "PAPER", "../pocket", "None", "paper ", "pocket\n"],
    "--epochs": ["0", "-1", "1.5", "abc", "", "1e3", "²", "nan", "True", str(10**4000), "3000000000"],
    "--seed": ["-1", "18446744073709551616", "9223372036854775807", "99999999999999999999999", "1.5", "x", ""],
    "--device": ["gpu", "cuda", "cuda:99", "meta", "mps", "", "cuda:-1", "xpu", "CPU", "cpu\n"],
    "--micro-batch": ["0", "-4", "x", "2.5", "99999999999999999999999"],
    "--workers": ["-1", "x", "1.0"],
    "--save-minutes": ["-1", "nan", "x", ""],
    "--save-steps": ["0", "-1", "x", "1.5", "", "nan"],
    "--validate-epochs": ["0", "-1", "x", "1.5", ""],
    "--compile": ["yes"],
    "--dry-run": ["no"],
    "--price": ["-1", "nan", "inf", "free", ""],
    "--precision": ["float64", "fp32", "", "16", "float8_e4m3fn"],
    "--scale-lr": ["cubic", "", "1"],
    "--weights": ["", "nowhere", "a\0b", "x" * 300, "resnet18", "/proc", "/dev/null"],
    "--set": [
        "",
        "batch_size",
        "=3",
        "nothing=1",
        "batch_size=0",
        "batch_size=-8",
        "batch_size=2.5",
        "batch_size=many",
        "batch_size=true",
        "batch_size=[8]",
        "batch_size=NaN",
        "batch_size=1e400",
        "local_batch_size=0",
        "learning_rate=0",
        "learning_rate=-1",
        "learning_rate=Infinity",
        "learning_rate=null",
        "width_factor=0",
        "betas=0.9",
        "betas=[0.9]",
        "betas=[0.9,1.5]",
        "label_smoothing=1",
        "crop_scale=2",
        "schedule=sawtooth",
        "algorithm=lion",
        "interpolation=nearest",
        "initialization=ones",
        "first_size=900",
        "evaluation_share=0",
        "name=3",
    ],
}

ACCEPTED_VALUES = [
    ("--epochs", "٣"),
    ("--device", "cpu:1"),
    ("--save-minutes", "inf"),
    ("--save-minutes", "0"),
    ("--save-minutes", "1e400"),
    ("--save-steps", "1"),
    ("--seed", "2147483647"),
    ("--validate-epochs", "99"),
    ("--set", "ema=0.9"),
    ("--set", "betas=[0.9, 0.95]"),
    ("--precision", "bfloat16"),
    ("--scale-lr", "sqrt"),
]


def _images_of_the_command_line(place):
    for which in (
        "",
        "/nowhere",
        ROOT / "README.md",
        "/dev/null",
        "/proc",
        "a\0b",
        "x" * 300,
        "imagenette ",
        "IMAGENETTE",
    ):
        shown = str(which).replace(str(ROOT), "PROJECT")[:40]
        yield Case(f"train --images {shown!r}", train("--images", which, recipe="tinypocket", **FULL))
    for which in (
        "nowhere.json",
        "/etc/passwd.json",
        "http://127.0.0.1:1/x.json",
        "ftp://127.0.0.1:1/x.json",
        "file:///etc/hostname.json",
        "gopher://x/x.json",
        "http://[bad/x.json",
        "data:application/json,{}.json",
        "pipe:touch pwned.json",
        "http:///x.json",
    ):
        yield Case(f"train --images {which!r}", train("--images", which, recipe="tiny", **FULL))
    folder = make_set(place / "pets")
    words = "CONVNEXT_LESSONS_FAST=false is not fast"
    settings = {"CONVNEXT_LESSONS_FAST": "false"}
    act = train("--images", folder, recipe="tinypocket", **settings)
    yield Case(words, act, lambda done: trained(done) and "on pets" in done.out)
    for asked in ("/nowhere", "imagenet", "a\nb"):
        act = train(recipe="tinypocket", **FULL, CONVNEXT_LESSONS_IMAGES=asked)
        yield Case(f"train, CONVNEXT_LESSONS_IMAGES={asked!r}", act)
    act = train(recipe="tinypocket", **FULL, CONVNEXT_LESSONS_IMAGES=str(folder))
    yield Case("train, CONVNEXT_LESSONS_IMAGES is a folder", act, lambda done: trained(done) and "on pets" in done.out)


def _after_a_run(place):
    for step in ("6", "11"):
        train("--step", step, "--out", place / f"run {step}")()
    run, beside = place / "run 11", place / "run 6"
    whole = (run / "weights.safetensors").read_bytes()
    for name, content in (("torn", whole[: len(whole) // 2]), ("empty", b""), ("long", b"\xff" * 100)):
        (place / f"{name}.safetensors").write_bytes(content)
    (place / "pickle.pt").write_bytes(b"cos\nsystem\n(S'touch pwned'\ntR.")
    (place / "nothing").mkdir()

    def answers(*arguments):  # the numbers are another machine's
        return lambda: "%" in command(*arguments)().out

    for weights in ("torn.safetensors", "empty.safetensors", "long.safetensors", "pickle.pt", "nothing"):
        yield Case(f"evaluate {weights}", command("evaluate", place / weights, "--images", "stand-in"))
    yield Case("evaluate published weights in fast mode", command("evaluate", "convnext-t", "--images", "stand-in"))
    yield Case("evaluate a run", answers("evaluate", run, "--images", "stand-in"), bool)
    folder = make_set(place / "zoo", classes=("aardvark", "zebra"))
    yield Case("evaluate on classes it does not know", command("evaluate", run, "--images", folder, **FULL))
    picture = next((folder / "val" / "zebra").iterdir())
    for words, pictures in (
        ("no picture", ()),
        ("''", ("",)),
        ("a missing picture", ("nowhere.png",)),
        ("a folder", (folder,)),
        ("a text", (ROOT / "README.md",)),
        ("/dev/zero", ("/dev/zero",)),
        ("a good and a bad one", (picture, "nowhere.png")),
    ):
        yield Case(f"predict {words}", command("predict", run, *pictures))
    yield Case("predict a picture", answers("predict", run, picture), bool)
    yield Case("predict --top 99 of ten classes", answers("predict", run, picture, "--top", "99"), bool)
    for top in ("0", "-1", "x"):
        yield Case(f"predict --top {top}", command("predict", run, picture, f"--top={top}"))
    yield Case("predict --draw under a file", command("predict", run, picture, "--draw", ROOT / "README.md" / "x.png"))
    for words, arguments in (
        ("without an end", (run, "weights")),
        ("to x.txt", (run, "x.txt")),
        ("under a file", (run, ROOT / "README.md" / "x.safetensors")),
        ("--names keras", (run, "x.safetensors", "--names", "keras")),
        ("x.onnx --names timm", (run, "x.onnx", "--names", "timm")),
        ("a middle step under timm's names", (beside, "x.safetensors", "--names", "timm")),
        ("nowhere", ("nowhere", "x.safetensors")),
    ):
        yield Case(f"export {words}", command("export", *arguments))
    written = lambda done: done.status == 0 and "written" in done.out  # noqa: E731
    yield Case("export a middle step", command("export", beside, "x.safetensors"), written)
    yield Case("train --weights and another --images", train("--weights", run, "--set", "batch_size=4"), trained)
    yield Case("train --scale-lr with a learning_rate", train("--scale-lr=sqrt", "--set", "learning_rate=1"))
    yield Case("train --step 0 --micro-batch 1 (BatchNorm)", train("--step=0", "--micro-batch=1"))


def _other_commands(place):
    for number in ("99", "-1", "abc", "1.5", "", "2147483648000000000000"):
        yield Case(f"run {number!r}", command("run", number))
    yield Case("run --to is a file", command("run", "0", "--fast", "--to", ROOT / "README.md"))
    yield Case("run --to ''", command("run", "0", "--to", ""))
    yield Case("run --fast --in-place", command("run", "--fast", "--in-place"))
    for collection in ("nothing", "", "../pocket", "pocket.jsonl"):
        yield Case(f"reference {collection!r}", command("reference", collection))
    for processes in ("0", "-1", "x"):
        yield Case(f"reference pilot --processes {processes}", command("reference", "pilot", "--processes", processes))
    yield Case("reference gpu --minutes nan", command("reference", "gpu", "--minutes", "nan"))
    yield Case("reference gpu in fast mode", command("reference", "gpu"))
    with patch("torch.cuda.device_count", lambda: 0):
        yield Case("reference gpu without a GPU", command("reference", "gpu", **FULL))
    folder = make_set(place / "packed")
    yield Case("shards of nothing", command("shards", "/nowhere", "tars"))
    yield Case("shards of ''", command("shards", "", "tars"))
    yield Case("shards into what is there", command("shards", folder, folder))
    yield Case("shards into a file's place", command("shards", folder, ROOT / "README.md"))
    (folder / "train" / "cat" / "link.png").symlink_to("nowhere.png")
    act = command("shards", folder, "tars")
    yield Case("shards of a folder with a dangling link", act)
    yield Case(
        "… names the picture, not the target folder",
        lambda: act().err,
        lambda words: "link.png" in words and "cannot be written" not in words and not (place / "tars").exists(),
    )
    yield from _arranging(place)
    yield Case("lab --folder is a file", command("lab", "--folder", ROOT / "README.md"))
    yield Case("lab --folder cannot be made", command("lab", "--folder", "/proc/x/y"))
    yield Case("lab --folder ''", command("lab", "--folder", ""))
    yield Case("lab --port nonsense", partial(_lab, place, "--port=abc"))
    with _taken_port() as port:
        act = partial(_lab, place, f"--port={port}", "--ServerApp.port_retries=0")
        yield Case("lab on a port in use, no other allowed", act)


def _arranging(place):
    yield Case("arrange nothing", command("arrange"))
    yield Case("arrange without a target", command("arrange", "/nowhere"))
    yield Case("arrange /nowhere", command("arrange", "/nowhere", "made"))
    yield Case("arrange ''", command("arrange", "", "made"))
    yield Case("arrange a file", command("arrange", ROOT / "README.md", "made"))
    yield Case("arrange a name of 300 letters", command("arrange", "x" * 300, "made"))
    yield Case("arrange a folder with train/ and val/", command("arrange", place / "packed", "made"))
    kaggle = place / "kaggle"
    pictures = kaggle / "ILSVRC" / "Data" / "CLS-LOC"
    (pictures / "train" / "n01").mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(pictures / "train" / "n01" / "n01_1.JPEG")
    yield Case("arrange Kaggle's without val", command("arrange", kaggle, "made"))
    (pictures / "val").mkdir()
    Image.new("RGB", (8, 8)).save(pictures / "val" / "val_1.JPEG")
    yield Case("arrange Kaggle's without its table", command("arrange", kaggle, "made"))
    for words, table in (
        ("empty", b""),
        ("of another kind", b"a,b\n1,2\n"),
        ("not UTF-8", b"ImageId,PredictionString\n\xff,n01\n"),
        ("with a NUL", b"ImageId,PredictionString\nval_1\0,n01\n"),
        ("naming a picture outside", b"ImageId,PredictionString\n../train/n01/n01_1,n01\n"),
        ("naming a class outside", b"ImageId,PredictionString\nval_1,../../n01\n"),
        ("without a class", b"ImageId,PredictionString\nval_1\n"),
        ("with a class of escape codes", b"ImageId,PredictionString\nval_1,\x1b[31m\n"),
    ):
        (kaggle / "LOC_val_solution.csv").write_bytes(table)
        yield Case(f"arrange Kaggle's, its table {words}", command("arrange", kaggle, "made"))
    (kaggle / "LOC_val_solution.csv").write_text("ImageId,PredictionString\nval_1,n01 1 2 3 4\n")
    yield Case("arrange into what is there", command("arrange", kaggle, place))
    yield Case("arrange into a file's place", command("arrange", kaggle, ROOT / "README.md"))
    yield Case("arrange under a file", command("arrange", kaggle, ROOT / "README.md" / "made"))
    yield Case("arrange into a name of 300 letters", command("arrange", kaggle, "x" * 300))
    yield Case("arrange Kaggle's", command("arrange", kaggle, "made"), lambda done: done.status == 0)
    for words, content in (("empty", b""), ("of nothing", b"PAR1 and nothing else")):
        folder = place / f"parquet {words}"
        folder.mkdir()
        for split in ("train", "validation"):
            (folder / f"{split}-00000-of-00001.parquet").write_bytes(content)
        yield Case(f"arrange parquet files, {words}", command("arrange", folder, "made of parquet"))
    (folder / "validation-00000-of-00001.parquet").unlink()
    (folder / "train-00000-of-00001.parquet").rename(folder / "other.parquet")
    yield Case("arrange parquet files of no split", command("arrange", folder, "made of parquet"))


def _data_folders(place):
    for words, folder, right in (
        ("a file", str(ROOT / "README.md"), None),
        ("a place that cannot be made", "/proc/nothing", None),
        ("a read-only place", "/sys", None),
        ("empty", "", trained),
        ("an unknown user's home", "~nobody-of-this-name/x", None),
        ("with a newline", str(place / "a\nb"), trained),
    ):
        settings = {"CONVNEXT_LESSONS_DATA": folder}
        with patch("convnext_lessons.system.settings.CHECKOUT", place / "checkout"):  # where an empty one leads
            well = right and (lambda done: done.status == 0)
            yield Case(f"doctor, CONVNEXT_LESSONS_DATA is {words}", _doctor(**settings), well)
            yield Case(f"train, CONVNEXT_LESSONS_DATA is {words}", train(**settings), right)


def _doctor(**settings):
    """What it has to complain of in the place of what a command says on stderr."""
    act = command("doctor", **settings)

    def complaint():
        done = act()
        wrong = [line[6:] for line in done.out.splitlines() if line.startswith("  !!")]
        return done._replace(err=done.err or f"{wrong[0]}." if wrong or done.err else "")

    return complaint


def _lab(place, *options):
    done = subprocess.run(
        [sys.executable, "-m", "convnext_lessons", "lab", "--no-browser", f"--folder={place / 'lessons'}", *options],
        env={**os.environ, "JUPYTER_CONFIG_DIR": str(place / "jupyter"), "JUPYTER_RUNTIME_DIR": str(place / "runtime")},
        capture_output=True,
        text=True,
        timeout=SECONDS - 2,
    )
    last = done.stderr.strip().splitlines()[-1]
    return Done(done.returncode, done.stdout, last.partition("] ")[2])


@contextlib.contextmanager
def _taken_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield taken.getsockname()[1]


def jupyter(place: Path) -> Iterator[Case]:
    """One server, which has to look for another port than the one that it is told."""
    home = place / "home"
    folders = {f"JUPYTER_{kind}_DIR": str(home / kind.lower()) for kind in ("CONFIG", "DATA", "RUNTIME")}
    command = [sys.executable, "-m", "convnext_lessons", "lab", "--no-browser", f"--folder={home / 'lessons'}"]
    with _taken_port() as port, open(place / "lab.log", "wb") as log:
        server = subprocess.Popen([*command, f"--port={port}"], env={**os.environ, **folders}, stdout=log, stderr=log)
        try:
            address = _address_in(place / "lab.log", server)
            listens = int(address.rpartition(":")[2].partition("/")[0])
            yield Case("on a port in use", lambda: "another port", lambda _: listens != port)
            yield Case("without its token", partial(_status, f"{address}/api/contents"), lambda got: got == 403)
            act = partial(_answer_of, "127.0.0.2", listens)
            yield Case("from another address than 127.0.0.1", act, lambda got: got == "no answer")
        finally:
            server.terminate()
            server.wait(SECONDS)
    modes = {oct(path.stat().st_mode & 0o777) for path in copy_lessons(home / "lessons")}
    yield Case("copies written by others", lambda: modes, lambda got: got <= {"0o644", "0o640", "0o600"})


def _address_in(log, server):
    """The address that a server says it listens on."""
    for _ in range(10 * SECONDS):
        found = re.search(r"http://127\.0\.0\.1:\d+", log.read_text())
        if found:
            return found[0]
        assert server.poll() is None, log.read_text()
        time.sleep(0.1)
    raise AssertionError(log.read_text())


def _status(address):
    try:
        return urllib.request.urlopen(address, timeout=5).status
    except urllib.error.HTTPError as error:
        return error.code


def _answer_of(host, port):
    try:
        socket.create_connection((host, port), timeout=2).close()
    except OSError:
        return "no answer"
    return "an answer"


# Networks and recipes -------------------------------------------------------------------------------------------------


def architectures(place: Path) -> Iterator[Case]:
    def made(field, value):
        return lambda: build_on_meta(RESNET50.change(**{field: value})) and "a network"

    for words, field, value in _each(BAD_FIELDS):
        yield Case(words, made(field, value))
    for words, field, value in _each(GOOD_FIELDS):
        yield Case(words, made(field, value), lambda made: made == "a network")
    for factor in (0.3, 0, -1, float("nan"), float("inf"), "half", None, (1,)):
        yield Case(f"thinner({factor!r})", partial(RESNET50.thinner, factor))
    small = RESNET50.thinner(1 / 16)
    for classes in (0, -1, 2.5, "ten", None, True):
        yield Case(f"build(num_classes={classes!r})", partial(build, small, classes))
    for other in ("resnet50", None, 11, {}):
        yield Case(f"build({other!r})", partial(build, other))
    big = RESNET50.change(depths=(1,)).thinner(1 / 16).change(kernel_size=101)
    yield Case(
        "a kernel of 101 on 32 px",
        lambda: list(build(big)(torch.zeros(1, 3, 32, 32)).shape),
        lambda got: got == [1, 1000],
    )
    for words, pictures in (
        ("too small", torch.zeros(1, 3, 8, 8)),
        ("grey", torch.zeros(1, 1, 64, 64)),
        ("without a batch", torch.zeros(3, 64, 64)),
        ("none", torch.zeros(0, 3, 64, 64)[:, :, :0]),
    ):
        yield Case(f"pictures that are {words}", partial(build(small), pictures))


BAD_FIELDS = {
    "depths": [(), 3, (3, 0), (3, -1), "3463", (True,), (1.0, 2), [[3]], None, (10**9,), (1,) * 40],
    "stem": ["cnn", None, 4, ["resnet"], {}],
    "patch_size": [0, 2.0],
    "width": ["64", -64, 10**9],
    "expansion": [0],
    "kernel_size": [4, -3, 10**6 + 1],
    "groups": [7, 128],
    "depthwise": [1],
    "inverted": ["yes"],
    "activation": ["swish"],
    "activate_after": ["first", ("last",), [["first"]]],
    "normalize_after": [("addition",), None],
    "norm": ["group"],
    "downsampling": [""],
    "layer_scale": [None],
    "unknown": [1],
}

GOOD_FIELDS = {"depths": [(1,) * 12, [3, 4]], "activate_after": [("first", "first")], "patch_size": [3]}


def _each(fields):
    """(in words, field, value) for each of the values by field."""
    for field, values in fields.items():
        for value in values:
            shown = repr(value)
            yield f"{field}={shown[:40]}{'…' * (len(shown) > 40)}", field, value


def steps(place: Path) -> Iterator[Case]:
    for step in (12, -1, 3.5, None, "3z", [], True, "0x3", "１１", "11 ", b"3", {}, float("nan")):
        yield Case(f"architecture_after({step!r})", partial(architecture_after, step))
    for step in (12, None, "3z"):
        yield Case(f"paper_after({step!r})", partial(paper_after, step))


def recipes(place: Path) -> Iterator[Case]:
    def followed(field, value):
        """A recipe's network sees one picture of its size."""

        def act():
            recipe = RECIPES["tinypocket"].change(**{field: value})
            network = make_network(make_experiment(11, recipe), 10, torch.device("cpu"))
            return network(torch.zeros(1, 3, recipe.image_size, recipe.image_size)).isfinite().all() and "a recipe"

        return act

    for words, field, value in _each(BAD_RECIPES):
        yield Case(words, followed(field, value))
    yield Case("epochs=10**30", followed("epochs", 10**30), lambda got: got == "a recipe")
    for scale in (None, 3, [], "pocket\n", {}, ("pocket",)):
        yield Case(f"recipe_of({scale!r})", partial(recipe_of, scale))


BAD_RECIPES = {
    "epochs": [0, 2.0, True],
    "batch_size": [-1, None],
    "learning_rate": [0, float("nan"), float("inf"), "1e-3"],
    "warmup_epochs": [4, -0.5],
    "betas": [(0.9,), 0.9, (0.9, 1.0), "no"],
    "mixup": [-1],
    "label_smoothing": [1.0],
    "crop_scale": [0, 2],
    "ema": [1],
    "augmentation": ["none"],
    "initialization": ["xavier", {}],
    "algorithm": ["adam", []],
    "schedule": [None],
    "interpolation": ["nearest"],
    "width_factor": [0, 1 / 7],
    "image_size": [64.0, 0, 8],
    "evaluation_size": [0],
    "evaluation_share": [0],
    "first_size": [0, 65],
    "repeats": [0],
    "local_batch_size": [0, 2.5],
    "name": [7, None],
    "nonsense": [1],
    "weight_decay": [-0.1],
    "stochastic_depth": [1.5],
}


def costs(place: Path) -> Iterator[Case]:
    yield Case("a cost without a unit", lambda: CostKind("latency", "latency", 0, "ms"))
    yield Case("a cost whose unit has no name", lambda: CostKind("latency", "latency", 1e-3, ""))
    yield Case("a cost that no layer has", lambda: CostKind("latency", "latency", 1e-3, "ms").of(count(RESNET50)))
    yield Case("by_stage('latency')", lambda: count(RESNET50).by_stage("latency"))
    for model in ("resnet50", None, 11):
        yield Case(f"count({model!r})", partial(count, model))
    for size in (0, -1, 8, "224", None, 1.5):
        yield Case(f"count(RESNET50, image_size={size!r})", partial(count, RESNET50, size))
    yield Case("measurements that are not stored", lambda: read_measurements("latency"))
    yield Case("measurements in another folder", lambda: read_measurements("../README"))


def weights(place: Path) -> Iterator[Case]:
    def case(words, into, state, right=None):
        return Case(words, partial(load_torchvision_weights, into, state), right)

    with torch.device("meta"):
        own, ten, fifth = build(architecture_after(0)), build(architecture_after(0), 10), build(architecture_after(5))
        resnet50, resnet18, convnext = (
            getattr(torchvision.models, name)().state_dict() for name in ("resnet50", "resnet18", "convnext_tiny")
        )
    yield case("resnet18 into ResNet-50", own, resnet18)
    yield case("convnext_tiny into ResNet-50", own, convnext)
    yield case("1000 classes into 10", ten, resnet50)
    yield case("empty", own, {})
    yield case("None", own, None)
    yield case("a checkpoint {'model': …} of the right network", own, {"model": resnet50}, lambda got: got is None)
    yield case("a checkpoint {'model': …} of another", own, {"model": resnet18})
    yield case("a list", own, list(resnet50))
    yield case("numbers for names", own, dict(enumerate(resnet50.values())))
    yield case("lists for tensors", own, {name: [0.0] for name in resnet50})
    yield case("into step 5", fifth, resnet50)
    nan = {name: torch.full(tensor.shape, float("nan")) for name, tensor in resnet50.items()}
    yield case("nan weights", own, nan, lambda got: got is None)
    for name in (None, "resnet50", []):
        yield Case(f"load_pretrained({name!r})", partial(load_pretrained, name))


# The classroom --------------------------------------------------------------------------------------------------------


def lesson_calls(place: Path) -> Iterator[Case]:
    with patch.dict(os.environ, FULL), _small_imagenette(place):
        yield Case("open_lesson(step=99)", partial(open_lesson, 99, scale="tinypocket"))
        yield Case("open_lesson(scale='huge')", partial(open_lesson, 1, scale="huge"))
        for source in ("/nowhere", 7, [], ("imagenette",), "imagewoof"):
            yield Case(f"open_lesson(source={source!r})", partial(open_lesson, 1, source=source))
        words = "load_images('') takes Imagenette, as nothing does"
        yield Case(words, lambda: load_images("", 32).note, lambda note: note.startswith("Imagenette"))
        shutil.rmtree(place / "data" / "downloads" / IMAGENETTE.folder / "val")
        yield Case("load_images('imagenette'), which is not whole", partial(load_images, "imagenette", 32))
    for size in (0, -5, "32", 1.5, None):
        with patch.dict(os.environ, FULL):
            folder = make_set(place / "sized")
            yield Case(f"load_images(folder, size={size!r})", partial(load_images, folder, size))
    fields = {"title": "T", "folder": "f", "address": "http://127.0.0.1:1/f.tgz", "counts": {}, "classes": {}}
    yield Case("a data set without a checksum", lambda: DataSet(name="new", md5="", **fields))


@contextlib.contextmanager
def _small_imagenette(place):
    """Eight images in the place of Imagenette's, and no way to the others'."""
    folder = place / "data" / "downloads" / IMAGENETTE.folder
    make_set(folder, classes=tuple(IMAGENETTE.classes)[:2], ending=".JPEG")
    nowhere = {"address": "http://127.0.0.1:1/x.tgz"}
    small = {name: replace(dataset, **nowhere) for name, dataset in DATASETS.items()}
    small["imagenette"] = replace(small["imagenette"], counts={"train": 8, "val": 4})
    with patch.dict(DATASETS, small):
        yield


class Answering(nn.Module):
    """The right layers, and a forward of somebody's own."""

    def __init__(self, forward, layers=None):
        super().__init__()
        self.layers = layers or a_block()
        self.answer = forward

    def forward(self, x):
        return self.answer(self.layers(x))


def a_block(channels=6, kernel=7, first=None):
    """[N, channels, H, W] → the same shape."""
    return nn.Sequential(
        nn.Conv2d(first or channels, channels, kernel, padding=kernel // 2),
        nn.BatchNorm2d(channels),
        nn.GELU(),
    )


class WithoutInit(nn.Module):
    def __init__(self):
        self.width = 6


class NotCopied(nn.Module):
    def __deepcopy__(self, memo):
        raise TypeError("it cannot be copied")


class Holding(nn.Module):
    """A list of layers and no forward."""

    def __init__(self, layer):
        super().__init__()
        self.layers = nn.ModuleList([layer])


class Wordless(Exception):
    def __str__(self):
        raise RuntimeError("no words")


def raising(error):
    def forward(x):
        raise error

    return forward


def asserting(x):
    assert x is None


def recursing(x):
    return recursing(x)


ANSWERS_OF_FORWARD = {
    "forgets its return": lambda x: None,
    "returns a tuple": lambda x: (x, x),
    "returns a number": lambda x: 3,
    "returns a list": lambda x: [x],
    "returns a dictionary": lambda x: {"x": x},
    "returns numpy": lambda x: x.detach().numpy(),
    "returns booleans": lambda x: x > 0,
    "returns complex": lambda x: x.to(torch.complex128) * 1j,
    "returns whole numbers": lambda x: x.long(),
    "returns float32 and something else": lambda x: x.float() + 1,
    "returns nan": lambda x: x * float("nan"),
    "returns a scalar": lambda x: x.sum(),
    "returns another shape": lambda x: x[:, :3],
    "returns an empty tensor": lambda x: x[:0],
    "returns a tensor of the meta device": lambda x: x.to("meta"),
    "returns a sparse tensor": lambda x: x.to_sparse(),
    "returns the class": lambda x: torch.Tensor,
    "calls itself without end": recursing,
    "raises ValueError()": raising(ValueError()),
    "raises ValueError('')": raising(ValueError("")),
    "raises NotImplementedError": raising(NotImplementedError()),
    "has an assert without words": asserting,
    "raises an error whose first line is empty": raising(RuntimeError("\nand more")),
    "raises an error without str": raising(Wordless()),
    "raises KeyError('x')": raising(KeyError("x")),
    "raises StopIteration": raising(StopIteration()),
    "calls sys.exit": raising(SystemExit("bye")),
    "runs out of memory": raising(MemoryError()),
}


def _modules():
    """What else may stand in an exercise's cell."""
    again = nn.Sequential(nn.Conv2d(6, 6, 1))
    around = nn.Sequential(nn.Conv2d(6, 6, 1))
    around.add_module("itself", around)
    hooked = a_block()
    hooked.register_forward_hook(lambda *_: 1 / 0)
    return {
        "a class": nn.Conv2d,
        "a number": 3,
        "a text": "nn.Conv2d(6, 6, 7)",
        "a function": a_block,
        "a list": [nn.Identity()],
        "a tensor": torch.zeros(2),
        "Ellipsis": ...,
        "NotImplemented": NotImplemented,
        "an empty Sequential": nn.Sequential(),
        "an Identity": nn.Identity(),
        "no forward": nn.Module(),
        "no super().__init__()": WithoutInit(),
        "cannot be copied": NotCopied(),
        "lazy": nn.LazyConv2d(6, 7, padding=3),
        "other channels": a_block(first=3),
        "another kernel": a_block(kernel=3),
        "flattens": nn.Flatten(),
        "a ModuleList": Holding(nn.Conv2d(6, 6, 3)),
        "changes its input": Answering(lambda x: x.zero_()),
        "hooks that raise": hooked,
        "an Embedding": nn.Embedding(3, 6),
        "an LSTM": nn.LSTM(6, 6),
        "shares itself": nn.Sequential(again, again),
        "contains itself": around,
        "on the meta device": nn.Conv2d(6, 6, 3, device="meta"),
        "half precision": a_block(kernel=3).half(),
        "int8 parameters": Answering(lambda x: x, nn.ParameterList([nn.Parameter(torch.ones(2).char(), False)])),
        "DataParallel": nn.DataParallel(a_block(kernel=3)),
    }


def exercises(place: Path) -> Iterator[Case]:
    def case(words, yours, right):
        return Case(words, partial(check, yours, a_block(), [2, 6, 8, 8]), right)

    def verdict(*words):
        return lambda answer: is_sentence(answer) and answer.startswith(words)

    yield case("None", None, verdict("Still to do: "))
    for words, module in _modules().items():
        yield case(words, module, verdict("Not yet: "))
    for layers, its in ((None, "right layers"), (lambda: a_block(kernel=3), "wrong layers")):
        for words, forward in ANSWERS_OF_FORWARD.items():
            yield case(f"{its}, {words}", Answering(forward, layers and layers()), verdict("Not yet: "))
    well = verdict("Well done: ")
    yield case("right layers, returns them right", Answering(lambda x: x), well)
    for wanted, values in BAD_VALUES:
        for yours in values:
            shown = " ".join(f"{yours!r}".split())[:40]
            act = partial(check_value, yours, wanted)
            yield Case(f"check_value({shown}, …)", act, verdict("Still to do: ", "Not yet: "))


BAD_VALUES = [
    (3, [None, "3", True, (3,), [], float("nan"), float("inf"), 10**400, 3 + 1j, {}]),
    ((3, 3, 9, 3), [3, (3, 3, 9), "3393", [[3]]]),
    (torch.ones(2, 2), [1.0, [[1, 1], [1, 1]], torch.ones(4), torch.full((2, 2), float("nan")), np.ones((2, 2))]),
    ("depthwise", ["Depthwise", 3, b"depthwise", "x" * 500]),
    (lambda value: value.missing, [3]),
]


def ledger(place: Path) -> Iterator[Case]:
    path = place / "ledger" / "ledger.jsonl"
    path.parent.mkdir()
    good = json.dumps({"schema": 1, "step": "1"}).encode()

    for words, content, kept in (
        ("empty", b"", 0),
        ("torn", good + b"\n" + good[:9], 1),
        ("a number", b"7\n" + good, 1),
        ("a list", b"[]\n" + good, 1),
        ("a string", b'"x"\n' + good, 1),
        ("null", b"null\n" + good, 1),
        ("true", b"true\n" + good, 1),
        ("deep nesting", b"[" * 100_000 + b"\n" + good, 1),
        ("bytes", bytes(range(256)) + b"\n" + good, 1),
        ("NULs (after a power cut)", b"\0" * 4096 + b"\n" + good, 1),
        ("a line of 50 MB", json.dumps({"schema": 1, "x": "x" * 50_000_000}).encode(), 1),
        ("NaN", b'{"schema": 1, "accuracy": NaN}', 1),
        ("numbers of 5000 digits", b'{"schema": 1, "x": ' + b"9" * 5000 + b"}\n" + good, 1),
        ("BOM", b"\xef\xbb\xbf" + good + b"\n" + good, 1),
        ("CRLF", good + b"\r\n" + good + b"\r\n", 2),
        ("schema missing", b'{"step": "1"}\n' + good, 1),
        ("schema 99", b'{"schema": 99}', None),
        ("schema of words", b'{"schema": "one"}\n' + good, 1),
    ):
        path.write_bytes(content)
        right = None if kept is None else lambda got, kept=kept: got == f"{kept} runs"
        yield Case(words, lambda: f"{len(RunStore(path).runs())} runs", right)
    path.unlink()
    yield Case("is not there", RunStore(path).runs, lambda got: got == [])
    for words, record in (
        ("append what is no JSON", {"schema": 1, "x": {1, 2}}),
        ("append NaN", {"schema": 1, "accuracy": float("nan")}),
        ("append a list", [1]),
        ("append nothing", None),
    ):
        yield Case(words, partial(RunStore(path).append, record))
    path.unlink(missing_ok=True)
    path.mkdir()
    yield Case("is a folder: read", RunStore(path).runs)
    yield Case("is a folder: append", partial(RunStore(path).append, {"schema": 1}))


def predictions(place: Path) -> Iterator[Case]:
    path = ensure_folder(place / "data") / "predictions.json"
    good = '"4": {"parameters": "equal"}'

    def answer_kept():
        predict(1, "parameters", "up a lot")
        return read_predictions()

    for words, content, kept in (
        ("empty", b"", {}),
        ("garbage", b"{", {}),
        ("list", b"[1]", {}),
        ("number", b"7", {}),
        ("null", b"null", {}),
        ("deep", b"[" * 100_000, {}),
        ("bytes", bytes(range(256)), {}),
        ("NULs", b"\0" * 100, {}),
        ("step is a list", b'{"1": [1]}', {}),
        ("step is null", b'{"1": null}', {}),
        ("answer is a list", b'{"1": {"parameters": []}}', {"1": {}}),
        ("step is a text", b'{"1": "equal"}', {}),
        ("one bad step beside good ones", f'{{{good}, "2": null}}'.encode(), {"4": {"parameters": "equal"}}),
    ):
        path.write_bytes(content)
        yield Case(f"{words}: read", read_predictions, lambda got, kept=kept: got == kept)
        with_answer = {**kept, "1": {"parameters": "up a lot"}}
        yield Case(f"{words}: predict", answer_kept, lambda got, whole=with_answer: got == whole)
    for step in (0, 99, None, "3a", []):
        yield Case(f"score({step!r})", partial(score, step))
    for step in (99, None, -1, [], "x"):
        yield Case(f"predict({step!r}, …)", partial(predict, step, "parameters", "equal"))
    for question, answer in ((None, None), ("parameters", []), ("taste", "equal"), ([], "equal"), ("parameters", 3)):
        yield Case(f"predict(1, {question!r}, {answer!r})", partial(predict, 1, question, answer))


def tables(place: Path) -> Iterator[Case]:
    for words, head, row in (
        ("a row that is too long", ("a",), ("1", "2")),
        ("a row that is too short", ("a", "b"), ("1",)),
        ("an empty row", ("a",), ()),
        ("a number for a word", ("a",), (1,)),
        ("None for a word", ("a",), (None,)),
    ):
        yield Case(words, partial(Table, head, [row]))
    html = Table(("a",), [("<script>",)])._repr_html_
    yield Case("a word of HTML", html, lambda html: "<script>" not in html)
    yield Case("no rows", partial(repr, Table(("a",), [])), lambda words: words == "a")


# Pictures -------------------------------------------------------------------------------------------------------------


def make_set(folder: Path, classes=("cat", "dog"), ending=".png") -> Path:
    """A new folder of eight images to train and four to validate, 48×40, in two classes."""
    shutil.rmtree(folder, ignore_errors=True)
    for split, images in (("train", 4), ("val", 2)):
        for label, name in enumerate(classes):
            (folder / split / name).mkdir(parents=True)
            for index in range(images):
                picture = Image.new("RGB", (48, 40), (200 * label, 50 * index, 90))
                picture.save(folder / split / name / f"{index:03d}{ending}")
    return folder


def pictures(place: Path) -> Iterator[Case]:
    for words, (spoil, right) in SPOILT.items():
        for recipe, where in (("tinypocket", "memory"), ("tiny", "disk")):
            folder = make_set(place / "set")
            spoil(folder)
            act = train("--images", folder, recipe=recipe, **FULL)
            yield Case(f"{words} ({where})", act, right)
    yield from _what_is_read(place)
    yield from _without_permission(place)


def _what_is_read(place):
    """What a network would see of single images."""
    path = place / "one.png"
    greys = np.arange(256, dtype=np.uint16)[None].repeat(8, 0) * 257
    Image.fromarray(greys).save(path)
    yield Case("16-bit grey PNG keeps its greys", lambda: len(read_image(path).getcolors()), lambda greys: greys == 256)
    path = place / "one.jpg"
    Image.new("RGB", (16, 16), (200, 30, 30)).convert("CMYK").save(path, quality=100)
    yield Case(
        "CMYK JPEG keeps its colours",
        lambda: read_image(path).getpixel((8, 8)),
        lambda pixel: np.allclose(pixel, (200, 30, 30), atol=12),
    )
    path = place / "one.tiff"
    Image.fromarray(np.linspace(0, 1, 256, dtype=np.float32).reshape(16, 16)).save(path)
    yield Case("float TIFF from 0 to 1 does not become black", partial(read_image, path))
    path = place / "long.png"
    Image.new("RGB", (1, 60_000)).save(path)
    yield Case("1×60000, which would take gigabytes", partial(read_image, path))
    folder = make_set(place / "loop")
    (folder / "train" / "cat" / "up").symlink_to(".")
    words = "a folder loop does not multiply pictures"
    yield Case(words, lambda: len(open_splits(folder)["train"].samples), lambda images: images == 8)
    for file in (None, "http://127.0.0.1:1/x.png"):
        yield Case(f"read_image({file!r})", partial(read_image, file))
    folder = make_set(place / "set")
    (folder / "meta.bin").write_bytes(b"not torch's")
    yield Case("meta.bin of somebody else's (disk)", train("--images", folder, recipe="tiny", **FULL))


def _without_permission(place):
    """Each is tried by nobody, since root may read everything."""
    for words, path in (
        ("a picture", "train/cat/000.png"),
        ("a class", "train/cat"),
        ("train", "train"),
        ("the folder", ""),
    ):
        for recipe, where in (("tinypocket", "memory"), ("tiny", "disk")):
            folder, data = make_set(place / "closed"), place / "nobody"
            for opened in (data, data / "runs"):
                opened.mkdir(exist_ok=True)
                opened.chmod(0o777)
            out = data / "runs" / str(next(_numbers))
            act = train("--images", folder, "--out", out, recipe=recipe, **FULL, CONVNEXT_LESSONS_DATA=str(data))
            (folder / path).chmod(0)
            yield Case(f"permission denied for {words} ({where})", _by_nobody(act))
            (folder / path).chmod(0o755)


def _by_nobody(act):
    def acting():
        root = os.geteuid() == 0
        if root:
            os.seteuid(NOBODY)
        try:
            return act()
        finally:
            if root:
                os.seteuid(0)

    return acting


def _rename(folder, before, after, splits=("train", "val")):
    for split in splits:
        (folder / split / before).rename(folder / split / after)


def _add(name, content=b"", splits=("train",)):
    """Put a file beside the cats of some splits."""

    def spoil(folder):
        for split in splits:
            (folder / split / "cat" / name).write_bytes(content)

    return spoil


def _save(name, picture, **settings):
    """Save a picture among the cats."""
    return lambda folder: picture().save(folder / "train" / "cat" / name, **settings)


def _link(name, target):
    return lambda folder: (folder / "train" / "cat" / name).symlink_to(target)


def _noise(mode="RGB"):
    noise = np.random.default_rng(0).integers(0, 256, (40, 48, 3), dtype=np.uint8)
    return Image.fromarray(noise).convert(mode)


def _jpeg():
    kept = io.BytesIO()
    _noise().save(kept, "JPEG")
    return kept.getvalue()


def _with_garbage():
    content, middle = _jpeg(), len(_jpeg()) // 2
    return content[:middle] + b"garbage " * 25 + content[middle + 200 :]


def _png_of(width, height):
    """A PNG that says how large it is, and holds nothing."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")


def _turned(folder):
    exif = Image.Exif()
    exif[0x0112] = 6
    _noise().save(folder / "train" / "cat" / "x.jpg", exif=exif)


def _many(folder):
    first = folder / "train" / "cat" / "000.png"
    for index in range(1000, 1400):
        os.link(first, first.with_name(f"{index}.png"))


def _without_pictures(folder):
    for path in (folder / "train").glob("*/*"):
        if path.stem > "001":
            path.unlink()


def _socket(folder):
    with contextlib.chdir(folder / "train" / "cat"), socket.socket(socket.AF_UNIX) as made:
        made.bind("x.png")


def _other_folder(name, splits):
    def spoil(folder):
        for split in splits:
            (folder / split / name).mkdir()

    return spoil


def _class_of(name, splits):
    return lambda folder: [shutil.copytree(folder / split / "dog", folder / split / name) for split in splits]


def _train_is_a_file(folder):
    shutil.rmtree(folder / "train")
    (folder / "train").write_text("cats")


def _one_class(folder):
    for split in ("train", "val"):
        for path in (folder / split / "dog").iterdir():
            path.rename(folder / split / "cat" / f"dog{path.name}")
        (folder / split / "dog").rmdir()


# (what is done to a folder, whether a run may be made of it then)
SPOILT = {
    "no train, no val": (lambda folder: [shutil.rmtree(folder / split) for split in ("train", "val")], None),
    "no val": (lambda folder: shutil.rmtree(folder / "val"), None),
    "train is a file": (_train_is_a_file, None),
    "no classes": (lambda folder: [shutil.rmtree(path) for path in folder.glob("*/*")], None),
    "one class": (_one_class, trained),
    "an empty class": (_other_folder("cat2", ("train", "val")), None),
    "class in train only": (_class_of("cow", ("train",)), None),
    "class in val only": (_class_of("cow", ("val",)), None),
    "same number of classes, other names": (lambda folder: _rename(folder, "cat", "cow", ("val",)), None),
    "a text with a picture's name": (_add("x.jpg", b"no picture"), None),
    "zero bytes": (_add("x.jpg"), None),
    "broken JPEG": (_add("x.jpg", _jpeg()[:900]), None),
    "JPEG with 200 garbage bytes inside": (_add("x.jpg", _with_garbage()), trained),
    "text files beside": (_add("notes.txt", b"cats"), trained),
    ".DS_Store beside": (_add(".DS_Store", b"\0\0\0\1Bud1"), trained),
    "._x.jpg of macOS": (_add("._x.jpg", b"\0\5\26\7"), None),
    "__MACOSX folder": (_class_of("__MACOSX", ("train",)), None),
    ".ipynb_checkpoints in train": (_other_folder(".ipynb_checkpoints", ("train",)), None),
    ".ipynb_checkpoints in both": (_other_folder(".ipynb_checkpoints", ("train", "val")), None),
    "CMYK JPEG": (_save("x.jpg", lambda: _noise("CMYK")), trained),
    "palette and alpha PNG": (_save("x.png", lambda: _noise("P"), transparency=0), trained),
    "grey and alpha PNG": (_save("x.png", lambda: _noise("LA")), trained),
    "animated GIF": (_save("x.gif", _noise, save_all=True, append_images=[_noise("L")]), trained),
    "TIFF in float": (_save("x.tiff", lambda: _noise("F")), None),
    "WebP": (_save("x.webp", _noise), trained),
    "upper-case extension": (_save("X.JPG", _noise), trained),
    "PNG called .jpg": (_save("x.jpg", _noise, format="PNG"), trained),
    "1-bit PNG": (_save("x.png", lambda: _noise("1")), trained),
    "1×4000": (_save("x.png", lambda: Image.new("RGB", (1, 4000))), None),
    "4000×1": (_save("x.png", lambda: Image.new("RGB", (4000, 1))), None),
    "1×1": (_save("x.png", lambda: Image.new("RGB", (1, 1))), trained),
    "a bomb of 60000×60000": (_add("x.png", _png_of(60_000, 60_000)), None),
    "0×0": (_add("x.png", _png_of(0, 0)), None),
    "unicode name": (_save("猫 ü.png", _noise), trained),
    "space and newline in a name": (_save("a b\nc.png", _noise), trained),
    "name that is not UTF-8": (_save(os.fsdecode(b"\xff\xfe.png"), _noise), trained),
    "symlink to a picture": (_link("l.png", "000.png"), trained),
    "dangling symlink": (_link("l.png", "nowhere.png"), None),
    "symlink loop of a file": (_link("l.png", "l.png"), None),
    "symlink loop of a folder": (_link("up", "."), trained),
    "a class that is a link to another": (lambda folder: (folder / "train" / "cow").symlink_to("cat"), None),
    "a folder called x.png": (lambda folder: (folder / "train" / "cat" / "x.png").mkdir(), trained),
    "a FIFO called x.png": (lambda folder: os.mkfifo(folder / "train" / "cat" / "x.png"), None),
    "a socket called x.png": (_socket, None),
    "/dev/zero as x.png": (_link("x.png", "/dev/zero"), None),
    "class name with HTML": (lambda folder: _rename(folder, "cat", "<b>cat"), trained),
    "fewer pictures than a batch": (_without_pictures, None),
    "hundreds of links to one file": (_many, trained),
    "broken EXIF": (_save("x.jpg", _noise, exif=b"Exif\0\0" + b"\xff" * 60_000), trained),
    "EXIF says turned": (_turned, trained),
}

PARTS = {
    "command line": command_line,
    "architectures": architectures,
    "steps": steps,
    "recipes": recipes,
    "costs": costs,
    "weights of other networks": weights,
    "lesson calls": lesson_calls,
    "exercises": exercises,
    "ledger": ledger,
    "predictions": predictions,
    "tables": tables,
    "pictures": pictures,
    "Jupyter": jupyter,
}
