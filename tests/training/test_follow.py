import json
import signal
import sys
import textwrap
import threading

import pytest

from convnext_lessons.training import TrainingError, follow


def command(words):
    return [sys.executable, "-c", textwrap.dedent(words)]


def write_points(folder, *pictures):
    lines = [json.dumps({"pictures": count, "seconds": 1.0}) for count in pictures]
    (folder / "log.jsonl").write_text("".join(line + "\n" for line in lines))


def test_every_point_is_reported_once_and_in_order(tmp_path):
    seen = []
    words = f"""
        import json, time
        for pictures in (64, 128, 192):
            with open({str(tmp_path / "log.jsonl")!r}, "a") as log:
                log.write(json.dumps({{"pictures": pictures, "seconds": 1.0}}) + "\\n")
            time.sleep(0.05)
    """
    follow(command(words), tmp_path, seen.append, pause=0.02)
    assert [point["pictures"] for point in seen] == [64, 128, 192]


def test_a_resumed_run_is_told_from_its_first_point(tmp_path):
    write_points(tmp_path, 64, 128)
    seen = []
    follow(command(""), tmp_path, seen.append, pause=0.02)
    assert [point["pictures"] for point in seen] == [64, 128]


def test_a_run_that_fails_is_told_with_its_last_words(tmp_path, refuses):
    with refuses(TrainingError, "status 3", "no such recipe"):
        follow(command("import sys; print('no such recipe'); sys.exit(3)"), tmp_path, pytest.fail, pause=0.02)


def test_an_interruption_lets_the_run_save_first(tmp_path):
    words = f"""
        import signal, sys, time
        from pathlib import Path
        def save(*_):
            Path({str(tmp_path / "saved")!r}).touch()
            sys.exit(0)
        signal.signal(signal.SIGTERM, save)
        Path({str(tmp_path / "ready")!r}).touch()
        time.sleep(60)
    """

    def interrupt():
        while not (tmp_path / "ready").exists():
            pass
        signal.raise_signal(signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        follow(command(words), tmp_path, pytest.fail, pause=0.02)
    assert (tmp_path / "saved").exists()
