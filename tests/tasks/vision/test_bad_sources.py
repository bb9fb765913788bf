"""Image sources that are missing, broken, gated, or of another schema."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import datasets
import pytest

from moesuite import UserError
from moesuite.config.sections import Data
from moesuite.train.dataloaders import eval_loader
from tests.tasks.vision.pictures import CLASSES, rows_of, vision


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (lambda p: p / "nowhere", {}, "does not exist; expected class folders of images"),
        (lambda p: p, {}, "expected class folders of images .*; it is empty"),
    ],
)
def test_sources_that_are_not_there(tmp_path: Path, make: Any, options: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        vision(source=make(tmp_path), **options)


def test_class_counts_that_do_not_match(tree: Path, parquet: Path) -> None:
    for source in (tree, parquet):
        with pytest.raises(
            UserError,
            match=r"has 3 classes \(cat, dog, owl\), the task 10; .* example task.num_classes=3",
        ):
            vision(source=source, num_classes=10)


def test_a_column_that_is_missing(tmp_path: Path) -> None:
    datasets.Dataset.from_dict({"words": ["a cat", "a dog"], "label": [0, 1]}).to_parquet(
        tmp_path / "t.parquet"
    )
    with pytest.raises(UserError, match=r"no column 'image'; its columns: words \(string\), label"):
        vision(source=tmp_path)


def test_parquet_without_the_training_split(parquet: Path) -> None:
    (parquet / "train.parquet").unlink()
    with pytest.raises(
        UserError, match="no split 'train' among test.parquet; name its file train.parquet"
    ):
        vision(source=parquet, splits={"train": "train", "test": "other"})


def test_a_broken_header_is_named_or_left_out(tree: Path) -> None:
    (tree / "dog" / "3.png").write_bytes(b"not an image")
    with pytest.raises(UserError, match=r"1 unreadable image: .*dog.3\.png; .*task.strict=false"):
        vision(source=tree)
    task = vision(source=tree, strict=False)
    assert len(task.unreadable) == 1
    assert len(rows_of(task, "train")) + len(rows_of(task, "test")) == 29


def test_files_without_their_image_say_why(tree: Path) -> None:
    (tree / "dog" / "3.png").write_text(
        "version https://git-lfs.github.com/spec/v1\nsize 9\n", encoding="utf-8"
    )
    with pytest.raises(UserError, match=r"3\.png \(a pointer of git-lfs: type git lfs pull\); exp"):
        vision(source=tree)
    table = tree.parent / "table"
    table.mkdir()
    cells = [{"bytes": None, "path": f"images/{n}.png"} for n in range(6)]
    features = datasets.Features(
        image={"bytes": datasets.Value("binary"), "path": datasets.Value("string")},
        label=datasets.Value("int64"),
    )
    rows = {"image": cells, "label": [0, 1, 2] * 2}
    datasets.Dataset.from_dict(rows, features=features).to_parquet(table / "train.parquet")
    with pytest.raises(UserError, match=r"6 unreadable images: images/\d.png \(no such file\), "):
        vision(source=table)


@pytest.mark.parametrize("options", [{"mean": [0.5] * 2}, {"std": [0.5] * 2}, {"mean": [0.5] * 4}])
def test_a_mean_for_each_channel(options: dict[str, Any], tree: Path) -> None:
    with pytest.raises(UserError, match="expected 1 or 3 values"):
        vision(source=tree, **options)
    assert vision(source=tree, mean=[0.5]).image.mean == [0.5] * 3


def test_a_truncated_image_is_found_when_it_is_read(
    tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in tree.rglob("*.png"):
        path.write_bytes(path.read_bytes()[:120])  # all headers are whole, all bodies are not
    strict = vision(source=tree)
    loader = eval_loader(strict, Data(eval_batch_size=2, workers=0), "test")
    with pytest.raises(UserError, match="2 unreadable images"):
        for batch in loader:
            strict.inputs(batch)
    lenient = vision(source=tree, strict=False)
    batches = list(eval_loader(lenient, Data(eval_batch_size=2, workers=0), "test"))
    assert [len(lenient.inputs(batch)) for batch in batches] == [0, 0]  # type: ignore[arg-type]
    assert len(lenient.unreadable) == 3
    (note,) = [note for note in lenient.notes if "broken" in note]
    assert note.startswith("3 images broken behind the header, left out: ") and ".png" in note
    assert note in capsys.readouterr().err


def test_a_broken_image_in_a_cached_source(tmp_path: Path) -> None:
    features = datasets.Features(
        {
            "image": {"bytes": datasets.Value("binary"), "path": datasets.Value("string")},
            "label": datasets.ClassLabel(names=list(CLASSES)),
        }
    )
    rows = {"image": [{"bytes": b"broken", "path": None}] * 2, "label": [0, 1]}
    datasets.Dataset.from_dict(rows, features=features).to_parquet(tmp_path / "train.parquet")
    with pytest.raises(
        UserError, match="2 unreadable images: parquet files of .*, split train, row 0"
    ):
        vision(source=tmp_path, cache=True)


def test_no_network_and_no_cache_says_the_three_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    with pytest.raises(
        UserError, match=r"three ways to supply it: \(1\).*\(2\) task.source=.*\(3\)"
    ):
        vision(hub="nobody/nothing", revision="0" * 40)


def test_a_gated_hub_data_set_explains_how_to_get_access(monkeypatch: pytest.MonkeyPatch) -> None:
    def gated(*arguments: Any, **options: Any) -> None:
        raise datasets.exceptions.DatasetNotFoundError(
            "Dataset 'a/b' is a gated dataset on the Hub."
        )

    monkeypatch.setattr("datasets.load_dataset", gated)
    monkeypatch.setattr("moesuite.sources.hub._resolve", lambda hub, revision: revision)
    with pytest.raises(
        UserError,
        match=r"is gated: accept its terms at https://huggingface.co/datasets/a/b, then `hf auth",
    ):
        vision(hub="a/b")


def test_the_hub_request_has_the_pinned_revision(
    parquet: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    real = datasets.load_dataset

    def load(hub: str, config: str | None, split: str, revision: str, streaming: bool) -> Any:
        asked.append((hub, config, split, revision))
        return real("parquet", data_files=str(parquet / f"{split}.parquet"), split="train")

    monkeypatch.setattr("datasets.load_dataset", load)
    monkeypatch.setattr("moesuite.sources.hub._resolve", lambda hub, revision: revision)
    task = vision(hub="a/b", revision="c0ffee", config="small")
    assert asked == [("a/b", "small", "train", "c0ffee"), ("a/b", "small", "test", "c0ffee")]
    assert task.fingerprint == "a/b@c0ffee"
