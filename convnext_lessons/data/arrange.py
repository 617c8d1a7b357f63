"""Data sets in the forms in which people get them, arranged as the course reads them: ``train/`` and ``val/``, a folder
in each for every class.

ImageNet from Kaggle has no class folders in ``val``; a table says what is on its pictures. From Hugging Face it comes
as parquet files, with a picture and a number a row; other classification sets do, too.
"""

import csv
import json
import os
from collections.abc import Iterator
from pathlib import Path

from convnext_lessons.data.datasets import ImagesError
from convnext_lessons.data.folders import printable
from convnext_lessons.system.errors import in_a_line
from convnext_lessons.system.storage import atomic_folder, locked_or_refused, sweep_parts

KAGGLE = Path("ILSVRC") / "Data" / "CLS-LOC"  # where the pictures are
SOLUTION = "LOC_val_solution.csv"
SPLITS = {"train": ("train",), "val": ("validation", "val")}  # how the names of parquet files begin
ROWS = 256  # of a parquet file in memory
LONGEST_NAME = 60  # letters of a class in a folder's name


def arrange(source: str | Path, target: str | Path) -> str:
    """Make ``target``, a folder with ``train/`` and ``val/``, of what ``source`` holds; as a whole or not at all.

    Kaggle's pictures stay where they are: the new folder holds links to them. Those in parquet files are written out,
    as bytes, in folders named by the number of their class, so that labels stay what they were.

    Returns:
        What was done, in words.

    Raises:
        ImagesError: it is neither form, not whole, or the target is already there.
        Locked: another process makes the target.
        StorageError: there is no room.
    """
    source, target = Path(source).resolve(), Path(os.path.abspath(target))
    if os.path.lexists(target):
        raise ImagesError(f"{target} is already there; name a new folder.")
    is_kaggles = os.path.isdir(source / KAGGLE)
    parquet = sorted(source.rglob("*.parquet")) if os.path.isdir(source) and not is_kaggles else []
    if not is_kaggles and not parquet:
        raise ImagesError(
            f"{printable(source)} holds neither {KAGGLE}, as from Kaggle, nor parquet files, as from Hugging Face; "
            "name a folder that does."
        )
    with locked_or_refused(target, f"Another process makes {target}; wait for it, or name another folder."):
        sweep_parts(target)
        try:
            with atomic_folder(target) as part:
                if is_kaggles:
                    count = _link_kaggle(source, part)
                    return f"{target}, with links to train and to {count:,} pictures of val, which stay in {source}"
                counts = {split: _write_parquet(parquet, split, part / split) for split in SPLITS}
        except OSError as error:  # of the source; those of the target are StorageErrors
            raise ImagesError(f"{printable(source)} cannot be read ({in_a_line(error)}); see to its rights.") from error
    return f"{target}, with {counts['train']:,} pictures in train and {counts['val']:,} in val"


def _link_kaggle(source, part):
    """Link train as a whole and the pictures of val one by one; how many these are."""
    pictures = source / KAGGLE
    for name in ("train", "val"):
        if not (pictures / name).is_dir():
            raise ImagesError(f"{printable(pictures / name)} is missing; unpack Kaggle's archive anew.")
    (part / "train").symlink_to(pictures / "train")
    classes = {path.name for path in (pictures / "train").iterdir() if path.is_dir()}
    for name in sorted(classes):
        (part / "val" / name).mkdir(parents=True)
    files = {path.stem: path for path in (pictures / "val").iterdir()}
    # A name out of the table is looked up and never becomes a path by itself.
    for image, label in _solution(source / SOLUTION):
        if image not in files or label not in classes:
            raise ImagesError(
                f"{printable(source / SOLUTION)} has the picture {in_a_line(repr(image))} in the class "
                f"{in_a_line(repr(label))}, and one of the two is not there; unpack Kaggle's archive anew."
            )
        path = files.pop(image)
        (part / "val" / label / path.name).symlink_to(path)
    if files:
        raise ImagesError(
            f"{printable(source / SOLUTION)} says nothing about {len(files)} of the pictures in val, the first is "
            f"{printable(min(files.values()))}; unpack Kaggle's archive anew."
        )
    return sum(1 for _ in (part / "val").glob("*/*"))


def _solution(path) -> Iterator[tuple[str, str]]:
    """(name of a picture, name of its class) in Kaggle's table: ``ImageId,PredictionString``, the second one being the
    class and a box, again and again."""
    try:
        with open(path, newline="", encoding="utf-8") as file:
            table = csv.DictReader(file)
            if not {"ImageId", "PredictionString"} <= set(table.fieldnames or ()):
                raise ValueError("it has no columns ImageId and PredictionString")
            for row in table:
                label, *_ = [*(row["PredictionString"] or "").split(), ""]
                yield row["ImageId"], label
    except (OSError, ValueError, csv.Error) as error:
        reason = in_a_line(getattr(error, "strerror", None) or error)
        raise ImagesError(
            f"{printable(path)} cannot be read as Kaggle's table ({reason}); put it there as it came."
        ) from error


def _write_parquet(files, split, folder):
    """Write the pictures of a split, numbered in the order of the files; how many these are."""
    # Either the file is named after its split, as in train-00000-of-00294.parquet, or its folder is.
    mine = [path for path in files if {path.stem.split("-")[0], path.parent.name} & set(SPLITS[split])]
    if not mine:
        raise ImagesError(
            f"No parquet file, nor a folder of some, is called {' or '.join(SPLITS[split])}; both train and validation "
            "are needed."
        )
    number = 0
    for path in mine:
        for name, content in _rows(path):
            (folder / name).mkdir(parents=True, exist_ok=True)
            (folder / name / f"{number:08d}{_suffix(content)}").write_bytes(content)
            number += 1
    return number


def _rows(path):
    """Yield (folder's name, bytes of the picture) of a parquet file."""
    parquet = _pyarrow()
    try:
        with parquet.ParquetFile(path) as file:
            names = _class_names(file.schema_arrow.metadata)
            for batch in file.iter_batches(ROWS, columns=["image", "label"]):
                for row in batch.to_pylist():
                    content = row["image"]["bytes"]  # the path beside it is somebody else's
                    if not isinstance(content, bytes):
                        raise ValueError("a row holds no picture")
                    yield _folder_of(row["label"], names), content
    except (ValueError, LookupError, TypeError, OSError) as error:  # pyarrow's own errors are among them
        raise ImagesError(
            f"{printable(path)} cannot be read ({in_a_line(error)}); it needs columns image, with bytes, and label."
        ) from error


def _folder_of(label, names):
    """The number first, wide enough for a sorted list of folders to be in the order of the labels."""
    if not isinstance(label, int) or not 0 <= label < (len(names) or 10**5):
        raise ValueError(f"it has the label {label}, which is none of its classes")
    if not names:
        return f"{label:05d}"
    plain = "".join(letter if letter.isalnum() or letter in " ,'-" else "_" for letter in names[label])
    return f"{label:05d} {plain[:LONGEST_NAME].strip()}".strip()


def _class_names(metadata):
    """The names of the labels, as Hugging Face writes them into a file; none where it does not."""
    about = json.loads((metadata or {}).get(b"huggingface", b"{}"))
    try:
        names = about["info"]["features"]["label"]["names"]
    except (LookupError, TypeError):
        return []
    return [str(name) for name in names]


def _suffix(content):
    return ".png" if content.startswith(b"\x89PNG") else ".jpg"  # readers look inside; listings, at the name


def _pyarrow():
    try:
        import pyarrow.parquet
    except ImportError:
        raise ImagesError(
            "Parquet files are read by pyarrow, which is not installed: pip install 'convnext-lessons[parquet]'."
        ) from None
    return pyarrow.parquet
