import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from convnext_lessons.cli import main
from convnext_lessons.data import stand_in
from convnext_lessons.model import LAST_STEP


def test_train_leaves_log_and_checkpoint_and_says_what_it_does(tmp_path, capsys):
    assert main(["train", "--step", "4", "--images", "stand-in", "--seed", "3", "--out", str(tmp_path / "run")]) == 0
    log = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    saved = torch.load(tmp_path / "run" / "last.pt", weights_only=True)
    assert log == saved["curve"] and "accuracy" in log[-1]
    printed = capsys.readouterr().out
    assert "step 4, recipe pocket, seed 3, on stand-in" in printed and f"{log[-1]['accuracy']:.1%}" in printed


def test_a_finished_run_is_not_trained_again(tmp_path, capsys):
    command = ["train", "--step", "0", "--out", str(tmp_path / "run")]
    main(command)
    log = (tmp_path / "run" / "log.jsonl").read_text()
    capsys.readouterr()
    assert main(command) == 0
    assert (tmp_path / "run" / "log.jsonl").read_text() == log
    assert "pictures " not in capsys.readouterr().out


def test_a_run_that_is_stopped_at_once_ends_in_words(tmp_path, monkeypatch, capsys, stopped_at_the_second_step):
    monkeypatch.setattr("convnext_lessons.data.open_images", lambda recipe, source: stand_in(32, 400, 40))
    assert main(["train", "--out", str(tmp_path / "run")]) == 130
    assert "8 pictures" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "--step", str(LAST_STEP + 1), "--out", "x"], f"There is no step '{LAST_STEP + 1}' on the road"),
        (["train", "--device", "cuda:99", "--out", "x"], "GPUs here"),
        (["run", "77"], "There is no lesson 77"),
        (["train", "--recipe", "huge", "--out", "x"], "There is no recipe 'huge'"),
        (["reference", "nothing"], "There is no collection 'nothing'"),
        (["run", "--in-place", "--fast"], "leave out --in-place"),
    ],
)
def test_bad_input_is_one_sentence_and_a_failure(arguments, words, capsys):
    assert main(arguments) == 1
    captured = capsys.readouterr()
    assert words in captured.err and captured.err.count("\n") == 1 and captured.out == ""


def test_unknown_options_are_refused():
    with pytest.raises(SystemExit):
        main(["doctor", "--nonsense"])


def test_lab_opens_the_learners_copies_on_loopback(tmp_path, monkeypatch, capsys):
    called = []
    monkeypatch.setenv("JUPYTER_CONFIG_PATH", "mine")
    monkeypatch.setattr("jupyterlab.labapp.LabApp.launch_instance", lambda argv: called.append(argv))
    assert main(["lab", f"--folder={tmp_path / 'mine'}", "--no-browser", "--port=9999"]) == 0
    (arguments,) = called
    assert "--ServerApp.ip=127.0.0.1" in arguments and arguments[-2:] == ["--no-browser", "--port=9999"]
    assert not any("token" in argument for argument in arguments)
    first = next(argument for argument in arguments if "default_url" in argument).rpartition("/")[2]
    assert (tmp_path / "mine" / first).exists()
    ours, others = os.environ["JUPYTER_CONFIG_PATH"].split(os.pathsep)
    (overrides,) = Path(ours).glob("labconfig/*.json")
    assert json.loads(overrides.read_text()) and others == "mine"


def test_doctor_says_what_is_there_and_what_to_do(capsys, own_place):
    assert main(["doctor"]) == 0
    printed = capsys.readouterr().out
    for words in ("Python 3.", "torch 2.", "GB of memory", f"GB free for {own_place}", "Imagenette", "8888"):
        assert words in printed
    broken = own_place / "downloads" / "imagenette2-160" / "train"
    broken.mkdir(parents=True)
    assert main(["doctor"]) == 1
    assert "holds 0 images where Imagenette v2 has 9469; delete" in capsys.readouterr().out


def test_the_module_runs_as_a_command():
    done = subprocess.run([sys.executable, "-m", "convnext_lessons", "--help"], capture_output=True, text=True)
    assert done.returncode == 0 and "doctor" in done.stdout


def test_stamp_writes_the_address_of_pyproject(monkeypatch, capsys):
    asked = []
    monkeypatch.setattr(
        "convnext_lessons.classroom.colab.repository_address", lambda: "https://github.com/somebody/lessons"
    )
    monkeypatch.setattr("convnext_lessons.classroom.notebooks.stamp_lessons", lambda url: asked.append(url) or ["one"])
    assert main(["stamp"]) == 0
    assert asked == ["https://github.com/somebody/lessons"]
    assert "1 lessons changed; they now say https://github.com/somebody/lessons." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("collection", "maker"),
    [
        ("engine", "engine.make_engine"),
        ("sprints", "sprints.make_sprints"),
    ],
)
def test_measurements_are_collections_of_their_own(collection, maker, monkeypatch):
    asked = []
    monkeypatch.setattr(f"convnext_lessons.experiments.{maker}", lambda: asked.append(maker))
    assert main(["reference", collection]) == 0
    assert asked == [maker]


@pytest.mark.parametrize(
    ("collection", "maker"), [("search", "collections.make_search"), ("next", "next_runs.make_next")]
)
def test_runs_that_depend_on_the_search_are_made_on_any_device(collection, maker, monkeypatch):
    asked = []
    monkeypatch.setattr(f"convnext_lessons.experiments.{maker}", lambda *given: asked.append(given))
    assert main(["reference", collection, "--processes", "12", "--device", "cuda"]) == 0
    assert asked == [(12, "cuda")]


def test_the_gpus_share_may_be_limited_in_minutes(monkeypatch):
    asked = []
    monkeypatch.setattr("convnext_lessons.experiments.gpu.make_on_gpu", asked.append)
    assert main(["reference", "gpu", "--minutes", "3"]) == 0
    assert asked == [3.0]


def test_a_collection_is_made_by_so_many_processes(monkeypatch, capsys):
    asked = []
    monkeypatch.setattr(
        "convnext_lessons.experiments.collections.make_collection", lambda *arguments: asked.append(arguments)
    )
    assert main(["reference", "pocket"]) == 0
    assert capsys.readouterr().out == ""
    assert main(["reference", "pilot", "--processes", "3", "--device", "cuda"]) == 0
    assert asked == [("pocket", 2, "cpu"), ("pilot", 3, "cuda")]
    assert "| variant | mean | spread |" in capsys.readouterr().out


def test_picture_says_where_it_drew_the_road(monkeypatch, capsys):
    monkeypatch.setattr("convnext_lessons.experiments.readme_pictures.draw_readme_pictures", lambda: ["data/road.png"])
    assert main(["picture"]) == 0
    assert capsys.readouterr().out == "drawn: data/road.png\n"


def test_train_tells_the_work_how_it_is_done(tmp_path, monkeypatch, capsys):
    asked = []

    def train(experiment, images, *, device, report, folder, options):
        asked.append(options)
        return type("Run", (), {"record": {"status": "complete"}})()

    monkeypatch.setattr("convnext_lessons.training.train", train)
    command = ["train", "--out", str(tmp_path), "--micro-batch", "16", "--workers", "0", "--compile"]
    assert main([*command, "--save-minutes", "1.5", "--save-steps", "7"]) == 0
    (options,) = asked
    assert (options.micro_batch_size, options.workers, options.compile) == (16, 0, True)
    assert (options.save_minutes, options.save_steps) == (1.5, 7)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a finished run, and three pictures."""
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CONVNEXT_LESSONS_FAST", "1")
        patch.setenv("CONVNEXT_LESSONS_DATA", str(folder / "data"))
        assert main(["train", "--step", "11", "--out", str(folder / "run")]) == 0
    for number in range(3):
        Image.new("RGB", (40, 30 + number), (80 * number, 40, 200)).save(folder / f"{number}.png")
    return folder


def test_a_run_is_evaluated_as_it_was_in_training(finished, capsys):
    last = json.loads((finished / "run" / "log.jsonl").read_text().splitlines()[-1])
    for place in (finished / "run", finished / "run" / "weights.safetensors"):
        assert main(["evaluate", str(place), "--images", "stand-in"]) == 0
        words, _, loss = capsys.readouterr().out.rpartition("loss ")
        assert f"top-1 {last['accuracy']:.2%}  top-5 {last['top5']:.2%}" in words
        assert float(loss) == pytest.approx(last["validation_loss"], abs=1e-4)


def test_pictures_are_answered_in_words_in_json_and_in_a_picture(finished, tmp_path, capsys):
    pictures = [str(finished / f"{number}.png") for number in range(3)]
    assert main(["predict", str(finished / "run"), *pictures, "--top", "2", "--draw", str(tmp_path / "a.png")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(": ")[0] for line in lines] == pictures
    assert all(line.count("%") == 2 for line in lines)
    assert Image.open(tmp_path / "a.png").format == "PNG"
    assert main(["predict", str(finished / "run"), pictures[0], "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["picture"] == pictures[0] and len(answer["classes"]) == 5
    assert f"{answer['classes'][0]['name']} {answer['classes'][0]['probability']:.1%}" in lines[0]


@pytest.mark.parametrize("names", [None, "timm"])
def test_a_run_is_exported_for_others(finished, tmp_path, names, capsys):
    more = ["--names", names] if names else []
    assert main(["export", str(finished / "run"), str(tmp_path / "x.safetensors"), *more]) == 0
    assert main(["evaluate", str(tmp_path / "x.safetensors"), "--images", "stand-in"]) == 0
    assert "top-1" in capsys.readouterr().out


def test_an_onnx_file_says_how_well_it_agrees(finished, tmp_path, capsys):
    assert main(["export", str(finished / "run"), str(tmp_path / "x.onnx")]) == 0
    assert "differ by at most" in capsys.readouterr().out and (tmp_path / "x.onnx").exists()


def test_training_goes_on_from_a_run(finished, tmp_path, capsys):
    command = ["train", "--weights", str(finished / "run"), "--recipe", "finetune", "--images", "stand-in"]
    folders = finished / "run", tmp_path / "tuned"
    assert main([*command, "--out", str(folders[1])]) == 0
    assert f"the run in {finished / 'run'}, gone on with, recipe finetune" in capsys.readouterr().out
    signatures = [torch.load(folder / "last.pt", weights_only=True)["signature"] for folder in folders]
    assert "weights" in signatures[1] and signatures[0]["architecture"] == signatures[1]["architecture"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["evaluate", "nowhere"], "nowhere is no run's folder"),
        (["predict", "RUN", "nothing.png"], "nothing.png is not a readable image"),
        (["export", "RUN", "x.txt"], "neither .safetensors nor .onnx"),
        (["export", "RUN", "x.onnx", "--names", "timm"], "leave out --names"),
        (["export", "RUN", "x.safetensors", "--names", "keras"], "no names 'keras'"),
        (["train", "--out", "x", "--set", "nonsense=3"], "no field 'nonsense'"),
        (["train", "--out", "x", "--set", "batch_size=0"], "--set batch_size=…"),
        (["train", "--out", "x", "--recipe", "paper", "--epochs", "10"], "--set warmup_epochs=…"),
        (["train", "--out", "x", "--scale-lr", "linear", "--set", "learning_rate=1"], "--scale-lr"),
        (["train", "--out", "x", "--weights", "nowhere"], "nowhere"),
    ],
)
def test_what_cannot_be_done_after_or_before_a_run_is_one_sentence(finished, arguments, words, capsys):
    assert main([str(finished / "run") if word == "RUN" else word for word in arguments]) == 1
    captured = capsys.readouterr()
    assert words in captured.err and captured.err.count("\n") == 1 and captured.out == ""


@pytest.mark.parametrize("words", ["batch_size", "=3", ""])
def test_a_change_is_a_name_and_a_value(words, capsys):
    with pytest.raises(SystemExit):
        main(["train", "--out", "x", "--set", words])
    assert "is not NAME=VALUE" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--set", "batch_size=32", "warmup_epochs=0.25"], (32, 0.25, 2e-3)),
        (["--set", "batch_size=32", "--set", "schedule=steps", "--scale-lr", "linear"], (32, 0.5, 1e-3)),
        (["--set", "batch_size=16", "--scale-lr", "sqrt"], (16, 0.5, 1e-3)),
        (["--set", "learning_rate=1e-4"], (64, 0.5, 1e-4)),
    ],
)
def test_the_command_line_changes_the_recipe(options, expected, monkeypatch, full_mode):
    asked = []

    def train(experiment, images, **settings):
        asked.append((experiment.recipe, settings["options"].precision))
        return type("Run", (), {"record": {"status": "complete"}})()

    monkeypatch.setattr("convnext_lessons.training.train", train)
    monkeypatch.setattr("convnext_lessons.data.open_images", lambda recipe, source: stand_in(32, 64, 40))
    assert main(["train", "--out", "x", "--precision", "bfloat16", *options]) == 0
    ((recipe, precision),) = asked
    assert (recipe.batch_size, recipe.warmup_epochs, recipe.learning_rate) == expected
    assert precision is torch.bfloat16


def test_a_dry_run_prints_the_plan_and_trains_nothing(tmp_path, capsys):
    command = ["train", "--out", str(tmp_path / "run"), "--images", "stand-in", "--recipe", "pocket", "--dry-run"]
    assert main([*command, "--set", "local_batch_size=4", "--price", "2"]) == 0
    printed = capsys.readouterr().out
    for words in ("64 for training", "4 × 2 for each", "GB counted", "at 2 an hour", "multiply-adds", "in steps of 2"):
        assert words in printed
    assert not (tmp_path / "run").exists()


def test_a_dry_run_plans_what_the_run_would_do(tmp_path, monkeypatch, capsys):
    asked = []

    def measure(experiment, device, size, options):
        asked.append((size, options.micro_batch_size, options.precision, options.compile))
        return 100.0

    monkeypatch.setattr("convnext_lessons.training.plan.measure_step_rate", measure)
    command = ["train", "--step", "11", "--out", str(tmp_path / "run"), "--images", "stand-in", "--recipe", "pocket"]
    assert main([*command, "--dry-run", "--micro-batch", "2", "--precision", "bfloat16", "--compile"]) == 0
    assert asked == [(8, 2, torch.bfloat16, True)]
    printed = capsys.readouterr().out
    assert "1 × 8 for each of 1 processes, 2 at a time" in printed and "for 2 pictures at a time" in printed


def test_a_dry_run_of_too_few_pictures_says_so(tmp_path, monkeypatch, capsys):
    few = stand_in(32, train_count=5, val_count=5)
    monkeypatch.setattr("convnext_lessons.data.open_images", lambda recipe, source: few)
    assert main(["train", "--out", str(tmp_path / "run"), "--recipe", "pocket", "--dry-run"]) == 1
    assert "5 training pictures do not fill one batch of 8" in capsys.readouterr().err


def test_shards_are_written_for_train(tmp_path, monkeypatch, capsys):
    asked = []
    monkeypatch.setattr(
        "convnext_lessons.data.tar_shards.write_shards",
        lambda source, folder: asked.append((source, folder)) or "tars/shards.json",
    )
    assert main(["shards", "pets", "tars"]) == 0
    assert asked == [("pets", "tars")]
    assert "tars/shards.json" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("option", "value", "least"), [("--workers", "-1", 0), ("--micro-batch", "0", 1), ("--epochs", "x", 1)]
)
def test_numbers_that_cannot_be_are_refused(option, value, least, capsys):
    with pytest.raises(SystemExit):
        main(["train", "--out", "x", f"{option}={value}"])
    assert f"argument {option}: '{value}' is not a whole number of at least {least}" in capsys.readouterr().err


def test_bench_ends_with_its_table(monkeypatch, capsys):
    monkeypatch.setattr("convnext_lessons.experiments.benchmark.make_benchmark", lambda: None)
    assert main(["bench"]) == 0
    assert "| loader, ImageFolder and DataLoader with 0 processes |" in capsys.readouterr().out
