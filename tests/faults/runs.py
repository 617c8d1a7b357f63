"""Runs that are killed, starved and damaged: each function does that once and raises a ``Fault`` where a run is then
not what it would have been. It gives the number of faults that it made."""

import random
import resource
import warnings
from pathlib import Path

from children import check, live
from slips import DEAD, die, full, slips
from small import (
    BATCH_NORM,
    IN_TARS,
    LAYER_NORM,
    ON_DISK,
    SETTINGS,
    WITH_LOADERS,
    Runs,
    copy,
    damage,
    flip_a_bit,
    is_saved,
)

from convnext_lessons.classroom.predictions import ANSWERS, QUESTIONS, predict, read_predictions
from convnext_lessons.runs import RunStore
from convnext_lessons.system.settings import data_folder
from convnext_lessons.training import read_log

IN_THIS_PROCESS = (BATCH_NORM, LAYER_NORM, ON_DISK, IN_TARS)  # without loader processes, which take seconds to start
STRIDE = 7919  # a prime, so that crash points are walked in leaps, each once


def finish(runs: Runs, setting: str, place: Path) -> None:
    """Let a run come to its end, and hold it against the one without a fault."""
    live(lambda: runs.train(setting, place), place).check_fine()
    runs.check_ended_alike(setting, place)


def kill(runs: Runs, place: Path, draw: random.Random, number: int) -> int:
    """Kill a run at any moments, and let it end."""
    setting = draw.choices(SETTINGS, (40, 40, 30, 20, 3))[0]
    seconds = runs.unbroken(setting).seconds
    kills, was_saved = 0, False
    for _ in range(draw.randint(1, 4)):
        end = live(lambda: runs.train(setting, place), place, kill_after=draw.uniform(0, seconds))
        if not end.was_killed:
            end.check_fine()
            break
        kills += 1
        check(is_saved(place) or not was_saved, "no checkpoint is left")
        was_saved = is_saved(place)
    finish(runs, ON_DISK if setting == WITH_LOADERS else setting, place)
    return kills


def crash(runs: Runs, place: Path, draw: random.Random, number: int) -> int:
    """Die, or be told that the disk is full, at one file operation of a run; ``number`` chooses which."""
    setting = IN_THIS_PROCESS[number % len(IN_THIS_PROCESS)]
    point = 1 + number // len(IN_THIS_PROCESS) * STRIDE % runs.operations(setting)
    dies = draw.random() < 0.5

    def crashing():
        with slips(point, die if dies else full):
            runs.train(setting, place)

    end = live(crashing, place)
    if not dies:
        end.check_fine_or_refused()
    finish(runs, setting, place)
    return int(end.status == DEAD or not dies)


def fill_the_disk(runs: Runs, place: Path, draw: random.Random, number: int) -> int:
    """Go on with a run on a disk that fills up, then free it."""
    setting = draw.choice(IN_THIS_PROCESS)
    copy(runs.interrupted(setting), place)
    size = (place / "run" / "last.pt").stat().st_size
    most, point = draw.randrange(size), draw.randrange(1, runs.operations(setting) // 3)

    def limited():
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
        runs.train(setting, place)

    def starved():
        with slips(point, full, lasting=True):
            runs.train(setting, place)

    live(draw.choice((limited, starved)), place).check_fine_or_refused()
    check(is_saved(place), "no checkpoint is left")
    finish(runs, setting, place)
    return 1


def tear(runs: Runs, place: Path, draw: random.Random, number: int) -> int:
    """Damage one file of several kinds."""
    draw.choice((tear_checkpoint, tear_checkpoint, tear_log, tear_store, tear_predictions, tear_cache))(
        runs, place, draw
    )
    return 1


def tear_checkpoint(runs, place, draw):
    setting = draw.choice(IN_THIS_PROCESS)
    copy(runs.interrupted(setting), place)
    damage(place / "run" / draw.choice(("last.pt", "last.pt", "previous.pt")), draw)
    finish(runs, setting, place)


def tear_log(runs, place, draw):
    setting = draw.choice(IN_THIS_PROCESS)
    copy(runs.interrupted(setting), place)
    damage(place / "run" / "log.jsonl", draw)
    read_log(place / "run")
    finish(runs, setting, place)


def tear_store(runs, place, draw):
    """One line of three is torn: that one is lost, and another run is recorded."""
    store, lines = RunStore(place / "runs.jsonl"), []
    for number in range(3):
        store.append({"schema": 1, "run_id": str(number), "status": "complete", "curve": [number] * 50})
    lines = store.path.read_bytes().splitlines()
    torn = draw.randrange(3)
    line = place / "line"
    line.write_bytes(lines[torn])
    damage(line, draw)
    lines[torn] = line.read_bytes()
    store.path.write_bytes(b"\n".join(lines) + (b"\n" if torn < 2 else b""))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        store.append({"schema": 1, "run_id": "new", "status": "complete"})
        found = [run["run_id"] for run in store.runs()]
    wanted = {"0", "1", "2", "new"} - {str(torn)}
    check(wanted <= set(found) and len(found) == len(set(found)), f"the store holds {found}, with line {torn} torn")


def tear_predictions(runs, place, draw):
    """Whatever the file holds, it is read, and another answer is kept."""
    predict(1, QUESTIONS[0], ANSWERS[0])
    damage(data_folder() / "predictions.json", draw)
    read_predictions()
    predict(2, QUESTIONS[0], ANSWERS[1])
    check(read_predictions()["2"] == {QUESTIONS[0]: ANSWERS[1]}, "an answer is lost")


def tear_cache(runs, place, draw):
    damage(runs.cache, draw)
    live(runs.check_pictures, place).check_fine()


def flip(runs: Runs, place: Path, draw: random.Random, number: int) -> int:
    """Flip one bit of a checkpoint or of the picture cache."""
    if draw.random() < 0.2:
        flip_a_bit(runs.cache, draw)
        live(runs.check_pictures, place).check_fine()
        return 1
    setting = draw.choice((BATCH_NORM, LAYER_NORM))
    copy(runs.interrupted(setting), place)
    flip_a_bit(place / "run" / "last.pt", draw)
    finish(runs, setting, place)
    return 1
