"""Tables that name images by path: found beside the table, and part of the fingerprint."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset, Features, Value
from datasets import Image as ImageFeature
from PIL import Image

from moesuite.sources.layout import list_files
from moesuite.sources.local import Readable, from_tables
from moesuite.sources.source import HubSource, Source
from tests.sources.files import TRAIN_TEST, write


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOESUITE_CACHE", str(tmp_path / "cache"))


def png(level: int) -> bytes:
    stream = io.BytesIO()
    Image.new("L", (1, 1), level).save(stream, "png")
    return stream.getvalue()


IMAGES = {f"pictures/{n}.png": png(n) for n in range(4)}
STRUCT = {"bytes": Value("binary"), "path": Value("string")}


def load(path: Path, streaming: bool = False) -> Source:
    source = HubSource(source=str(path))
    return source.load(TRAIN_TEST, streaming=streaming, readable=Readable(images=True))


def levels(source: Source, role: str, column: str) -> list[Any]:
    rows = source.splits[role].cast_column(column, ImageFeature())
    return [cell and cell.getpixel((0, 0)) for cell in rows[column]]


def parquet(folder: Path, cells: dict[str, list[Any]], feature: Any) -> Path:
    write(folder, IMAGES)
    for split, images in cells.items():
        rows = {"image": images, "label": [0] * len(images)}
        features = Features(image=feature, label=Value("int64"))
        Dataset.from_dict(rows, features=features).to_parquet(folder / f"{split}.parquet")
    return folder


def by_path(*numbers: int) -> list[dict[str, Any]]:
    return [{"bytes": None, "path": f"pictures/{n}.png"} for n in numbers]


def test_images_beside_parquet_are_found_and_hashed(tmp_path: Path) -> None:
    """Other pixels under the same names were the same data: "already recorded"."""
    folder = parquet(tmp_path / "own", {"train": by_path(2, 0), "test": by_path(3)}, STRUCT)
    before = load(folder)
    assert levels(before, "train", "image") == [2, 0] and levels(before, "test", "image") == [3]
    (folder / "pictures" / "3.png").write_bytes(png(200))
    after = load(folder)
    assert before.fingerprint != after.fingerprint
    assert levels(after, "test", "image") == [200]
    (folder / "pictures" / "1.png").write_bytes(png(200))  # no row names it
    assert load(folder).fingerprint == after.fingerprint
    (note,) = load(folder, streaming=True).notes[:1]
    assert note.startswith("images that the rows of a stream name by path are not part of the ")


def test_bytes_and_paths_in_one_column(tmp_path: Path) -> None:
    held = {"bytes": png(9), "path": "pictures/1.png"}  # bytes come first
    folder = parquet(tmp_path / "own", {"train": [*by_path(2), held, None]}, STRUCT)
    source = load(folder / "train.parquet")
    told = [*levels(source, "train", "image"), *levels(source, "test", "image")]
    assert sorted(told, key=str) == [2, 9, None]


CELLS = {
    "below the folder of the table": "pictures/{}.png",
    "names alone, the images elsewhere": "{}.png",
    "full paths": "{{}}/pictures/{}.png",
}
CSV = {
    "": "image,label\n",
    "semicolons": "image;label\n",
    "no header": "",
}


@pytest.mark.parametrize("header", CSV)
@pytest.mark.parametrize("cell", CELLS)
def test_csv_of_paths(cell: str, header: str, tmp_path: Path) -> None:
    mark = ";" if ";" in CSV[header] else ","
    paths = [CELLS[cell].format(n).format(tmp_path) for n in (3, 1, 2)]
    lines = [f"{path}{mark}ant\n" for path in paths]
    write(tmp_path, {**IMAGES, "train.csv": CSV[header] + "".join(lines[:2])})
    write(tmp_path, {"test.csv": CSV[header] + lines[2]})
    source = load_tables(tmp_path)
    column = "image" if CSV[header] else "column1"
    assert levels(source, "train", column) == [3, 1] and levels(source, "test", column) == [2]
    assert source.notes == ("not used: pictures/0.png",)


def load_tables(folder: Path) -> Source:
    files = list_files(folder)
    tables = [file for file in files if file.suffix == ".csv"]
    return from_tables(folder, tables, files, TRAIN_TEST, False, Readable(images=True))


def test_paths_of_no_file_stay_text(tmp_path: Path) -> None:
    write(tmp_path, {"train.csv": "image,label\nnowhere.png,ant\nneither.png,bee\n"})
    assert load_tables(tmp_path).splits["train"].features["image"].dtype.endswith("string")
