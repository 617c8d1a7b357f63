import io
import json
import os
import sys

import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image

from convnext_lessons import cli
from convnext_lessons.data import ImagesError, arrange, open_images
from convnext_lessons.data.arrange import arrange as arrange_images
from convnext_lessons.runs.recipes import PAPER

TABLE = "ImageId,PredictionString\n"


def picture(value=100, kind="JPEG"):
    buffer = io.BytesIO()
    Image.new("RGB", (40, 48), (value,) * 3).save(buffer, kind)
    return buffer.getvalue()


@pytest.fixture
def kaggle(tmp_path):
    """Two classes: four pictures in train, three in val, and the table."""
    root = tmp_path / "kaggle"
    pictures = root / "ILSVRC" / "Data" / "CLS-LOC"
    for label in ("n01", "n02"):
        (pictures / "train" / label).mkdir(parents=True)
        for number in range(2):
            (pictures / "train" / label / f"{label}_{number}.JPEG").write_bytes(picture())
    (pictures / "val").mkdir()
    rows = {
        "ILSVRC2012_val_1": "n02 1 2 3 4 n02 5 6 7 8 ",
        "ILSVRC2012_val_2": "n01 1 2 3 4 ",
        "ILSVRC2012_val_3": "n02 ",
    }
    for name in rows:
        (pictures / "val" / f"{name}.JPEG").write_bytes(picture())
    (root / "LOC_val_solution.csv").write_text(TABLE + "".join(f"{name},{words}\n" for name, words in rows.items()))
    return root


def write_parquet(path, rows, names=None):
    features = {"label": {"names": names, "_type": "ClassLabel"}} if names else {}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})} if names else None
    table = pyarrow.table(
        {
            "image": [{"bytes": content, "path": "../../escaped.jpg"} for content, _ in rows],
            "label": [label for _, label in rows],
        }
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(table.replace_schema_metadata(metadata), path)


NAMES = ["tench, Tinca tinca", "../a/b", "ant"]


@pytest.fixture
def parquet(tmp_path):
    """Three classes whose names are not in the order of the alphabet; two files of train, one of validation."""
    root = tmp_path / "hub"
    rows = [(picture(40 * label, "PNG" if label == 2 else "JPEG"), label) for label in (0, 1, 2, 2)]
    write_parquet(root / "data" / "train-00000-of-00002.parquet", rows, NAMES)
    write_parquet(root / "data" / "train-00001-of-00002.parquet", rows[:2], NAMES)
    write_parquet(root / "data" / "validation-00000-of-00001.parquet", rows[:3], NAMES)
    write_parquet(root / "data" / "test-00000-of-00001.parquet", [(picture(), -1)], NAMES)
    return root


def test_kaggles_pictures_are_linked_under_their_classes(kaggle, tmp_path, full_mode):
    words = arrange_images(kaggle, tmp_path / "made")
    assert "3 pictures of val" in words and str(kaggle) in words
    found = {str(path.relative_to(tmp_path / "made")) for path in (tmp_path / "made" / "val").glob("*/*")}
    assert found == {"val/n01/ILSVRC2012_val_2.JPEG", "val/n02/ILSVRC2012_val_1.JPEG", "val/n02/ILSVRC2012_val_3.JPEG"}
    images = open_images(PAPER, str(tmp_path / "made"))
    assert (len(images.train), len(images.val), images.classes) == (4, 3, ("n01", "n02"))
    assert images.val[0][0].shape == (3, 48, 40) and images.val.labels.tolist() == [0, 1, 1]


def test_parquet_files_become_folders_in_the_order_of_their_labels(parquet, tmp_path, full_mode):
    assert "6 pictures in train and 3 in val" in arrange_images(parquet, tmp_path / "made")
    images = open_images(PAPER, str(tmp_path / "made"))
    assert images.classes == ("00000 tench, Tinca tinca", "00001 ___a_b", "00002 ant")
    assert images.train.labels.tolist() == [0, 0, 1, 1, 2, 2]
    for index, label in enumerate(images.train.labels.tolist()):
        assert abs(images.train[index][0].float().mean() - 40 * label) < 2
    assert {path.suffix for path in (tmp_path / "made").glob("*/00002*/*")} == {".png"}
    assert not list(tmp_path.rglob("escaped*"))


def test_files_may_lie_in_folders_named_after_splits(tmp_path):
    for split in ("train", "val"):
        write_parquet(tmp_path / "hub" / "default" / split / "0000.parquet", [(picture(), 0), (picture(), 12)])
    arrange_images(tmp_path / "hub", tmp_path / "made")
    assert sorted(path.name for path in (tmp_path / "made" / "val").iterdir()) == ["00000", "00012"]


def test_the_command(kaggle, tmp_path, capsys):
    assert cli.main(["arrange", str(kaggle), str(tmp_path / "made")]) == 0
    assert f"made: {tmp_path / 'made'}" in capsys.readouterr().out
    assert cli.main(["arrange", str(kaggle), str(tmp_path / "made")]) == 1
    assert "already there" in capsys.readouterr().err


# What goes wrong ------------------------------------------------------------------------------------------------------


def no_table(root):
    (root / "LOC_val_solution.csv").unlink()


def another_table(root):
    (root / "LOC_val_solution.csv").write_text("a,b\n1,2\n")


def a_row_without_class(root):
    (root / "LOC_val_solution.csv").write_text(f"{TABLE}ILSVRC2012_val_1,\n")


def a_row_too_few(root):
    path = root / "LOC_val_solution.csv"
    path.write_text("\n".join(path.read_text().splitlines()[:-1]))


def a_row_twice(root):
    path = root / "LOC_val_solution.csv"
    path.write_text(path.read_text() + "ILSVRC2012_val_3,n02 \n")


def an_unknown_class(root):
    (root / "LOC_val_solution.csv").write_text(f"{TABLE}ILSVRC2012_val_1,n99\n")


def a_class_outside(root):
    (root / "LOC_val_solution.csv").write_text(f"{TABLE}ILSVRC2012_val_1,../../n01\n")


def a_picture_outside(root):
    (root / "LOC_val_solution.csv").write_text(f"{TABLE}../train/n01/n01_0,n01\n")


def no_val(root):
    (root / "ILSVRC" / "Data" / "CLS-LOC" / "val").rename(root / "elsewhere")


KAGGLES = [no_table, another_table, a_row_without_class, a_row_too_few, a_row_twice]
KAGGLES += [an_unknown_class, a_class_outside, a_picture_outside, no_val]


@pytest.mark.parametrize("damage", KAGGLES)
def test_what_kaggle_does_not_give_is_refused_and_nothing_stays(kaggle, tmp_path, damage, refuses):
    damage(kaggle)
    with refuses(ImagesError, str(kaggle)):
        arrange_images(kaggle, tmp_path / "made")
    assert not [path for path in tmp_path.iterdir() if "made" in path.name and path.suffix != ".lock"]


def no_parquet(root):
    (root / "data" / "train-00001-of-00002.parquet").write_bytes(b"PAR1 and nothing else")


def no_validation(root):
    (root / "data" / "validation-00000-of-00001.parquet").unlink()


def another_column(root):
    table = pyarrow.table({"img": [b""], "label": [0]})
    pyarrow.parquet.write_table(table, root / "data" / "train-00000-of-00002.parquet")


def no_bytes(root):
    write_parquet(root / "data" / "train-00000-of-00002.parquet", [(None, 0)], NAMES)


def bytes_without_a_column_of_theirs(root):
    table = pyarrow.table({"image": [b"x"], "label": [0]})
    pyarrow.parquet.write_table(table, root / "data" / "train-00000-of-00002.parquet")


def no_label(root):
    write_parquet(root / "data" / "train-00000-of-00002.parquet", [(picture(), None)], NAMES)


def a_label_below(root):
    write_parquet(root / "data" / "train-00000-of-00002.parquet", [(picture(), -1)], NAMES)


def a_label_beyond(root):
    write_parquet(root / "data" / "train-00000-of-00002.parquet", [(picture(), 3)], NAMES)


def words_for_labels(root):
    write_parquet(root / "data" / "train-00000-of-00002.parquet", [(picture(), "../x")], NAMES)


PARQUETS = [no_parquet, no_validation, another_column, no_bytes, bytes_without_a_column_of_theirs]
PARQUETS += [no_label, a_label_below, a_label_beyond, words_for_labels]


@pytest.mark.parametrize("damage", PARQUETS)
def test_parquet_files_of_something_else_are_refused_and_nothing_stays(parquet, tmp_path, damage, refuses):
    damage(parquet)
    with refuses(ImagesError, "parquet"):
        arrange_images(parquet, tmp_path / "made")
    assert not [path for path in tmp_path.iterdir() if "made" in path.name and path.suffix != ".lock"]


@pytest.mark.parametrize("source", ["nowhere", "empty", "x" * 300])
def test_what_is_neither_form_is_refused(tmp_path, source, refuses):
    (tmp_path / "empty").mkdir()
    with refuses(ImagesError, "Kaggle", "Hugging Face"):
        arrange_images(tmp_path / source, tmp_path / "made")


def test_a_target_that_is_there_is_refused(kaggle, tmp_path, refuses):
    os.symlink("nowhere", tmp_path / "made")
    with refuses(ImagesError, "already there"):
        arrange_images(kaggle, tmp_path / "made")


def test_without_pyarrow_it_says_what_to_install(parquet, tmp_path, monkeypatch, refuses):
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with refuses(ImagesError, "convnext-lessons[parquet]"):
        arrange_images(parquet, tmp_path / "made")


def test_what_a_killed_command_left_is_swept(kaggle, tmp_path):
    (tmp_path / ".made.1234.part" / "train").mkdir(parents=True)
    arrange_images(kaggle, tmp_path / "made")
    assert not (tmp_path / ".made.1234.part").exists()


@pytest.mark.parametrize("made", ["kaggle", "parquet"])
def test_training_on_what_wants_arranging_names_the_command(made, request, full_mode, refuses):
    with refuses(ImagesError, f"convnext-lessons arrange {request.getfixturevalue(made)} NEW"):
        open_images(PAPER, str(request.getfixturevalue(made)))


def test_many_rows_come_in_parts(parquet, tmp_path, monkeypatch):
    monkeypatch.setattr(arrange, "ROWS", 1)
    assert "6 pictures in train" in arrange_images(parquet, tmp_path / "made")
