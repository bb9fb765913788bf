"""`python -m moesuite.data`: what is said of data, in words, JSON and HTML."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from moesuite.sources.labels import LabelColumn, labels_as_they_are
from tests.data.sources import Show, cut, image_tree, jpeg
from tests.tasks.glue import understanding_folder
from tests.tasks.local_data import BYTES, dialogue, parquet, search_folder

COUNTS = {"train": {"ant": 30, "bee": 2}, "test": {"ant": 3, "bee": 3}}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return image_tree(tmp_path / "tree", COUNTS)


def images_of(tree: Path, *words: str) -> list[str]:
    return ["task=stl10", f"source={tree}", "task.num_classes=2", *words]


def test_digits_as_they_are(show: Show) -> None:
    found = show("task=digits", "format=json", "examples=2")
    train, test = found["splits"]["train"], found["splits"]["test"]
    assert (train["size"], test["size"]) == (1437, 360)
    assert sum(train["labels"].values()) == 1437 and list(train["labels"]) == list("0123456789")
    assert train["repeats"] == {"total": 1437, "within": 0, "in_train": 0, "near": None}
    assert train["pixels"]["mean"] == pytest.approx([0.3054], abs=1e-4)  # as in its YAML
    assert train["pixels"]["std"] == pytest.approx([0.3760], abs=1e-4)
    assert test["examples"] == 2 * [{"label": test["examples"][0]["label"], "texts": []}] or all(
        each["size"] == [8, 8] for each in test["examples"]
    )
    assert found["warnings"] == [] and found["fingerprint"].startswith("sha256:")


def test_faults_of_images_are_told_and_stop_nothing(show: Show, tree: Path) -> None:
    (tree / "train" / "ant" / "0.png").write_bytes(b"no image")
    (tree / "train" / "ant" / "1.png").unlink()
    cut(jpeg(tree / "train" / "ant" / "1.jpg"))
    shutil.copy(tree / "train" / "ant" / "2.png", tree / "test" / "ant" / "copy.png")
    shutil.copy(tree / "train" / "ant" / "3.png", tree / "train" / "ant" / "copy.png")
    for number in (4, 5):
        Image.new("L", (16, 16), number).save(tree / "train" / "ant" / f"{number}.png")
    found = show(*images_of(tree, "format=json"))
    train, test = found["splits"]["train"], found["splits"]["test"]
    assert (train["size"], test["size"]) == (32, 7)  # without the one that is no image
    assert train["labels"] == {"ant": 30, "bee": 2}
    assert len(found["unreadable"]) == 1 and "0.png" in found["unreadable"][0]
    assert len(train["unreadable"]) == 1 and "1.jpg" in train["unreadable"][0]
    assert (train["repeats"]["within"], test["repeats"]["in_train"]) == (1, 1)
    assert train["pixels"]["modes"] == {"RGB": 29, "L": 2} and train["pixels"]["constant"] == 2
    expected = (
        r"left out, because they cannot be read: .*0\.png",
        r"train: 1 of 32 examples cannot be read: .*1\.jpg: .+",
        r"train: 1 example equal to an earlier one of the split",
        r"train: classes are very unequal: 30 examples of ant, 2 of bee",
        r"test: only 7 examples: each moves a share by 14 %",
        r"test: 1 of 7 examples \(14 %\) are in train, too",
        r"train: 2 of 31 images of one colour",
        r"train: images of 16 pixels are enlarged to 96",
    )
    for sentence in expected:
        assert any(re.fullmatch(sentence, each) for each in found["warnings"]), sentence
    assert len(found["warnings"]) == len(expected)


def test_labels_that_cannot_be_trained_on_are_shown_as_they_are(show: Show, tree: Path) -> None:
    found = show(*images_of(tree, "format=json", "task.num_classes=3"))
    assert found["splits"]["train"]["labels"] == {"ant": 30, "bee": 2}
    assert "2 classes (ant, bee), the task 3" in found["problems"][0]
    assert found["warnings"][0] == f"training refuses this data: {found['problems'][0]}"
    (tree / "test" / "bee").rename(tree / "test" / "Bee")
    found = show(*images_of(tree, "format=json"))
    assert found["splits"]["train"]["labels"] == {"Bee": 0, "ant": 30, "bee": 2}
    assert found["splits"]["test"]["labels"] == {"Bee": 3, "ant": 3, "bee": 0}
    assert (
        len(found["problems"]) == 1 and "classes that training lacks: Bee" in found["problems"][0]
    )


def test_labels_are_shown_by_name_and_numbers_in_their_order() -> None:
    columns = {"train": LabelColumn([0, 1, 1], ["cat", "ant"]), "test": LabelColumn([2, None])}
    labels = labels_as_they_are(columns)
    assert labels.names == ("2", "None", "ant", "cat")
    assert [labels.indices[name].tolist() for name in columns] == [[3, 2, 2], [0, 1]]
    assert labels_as_they_are({"train": LabelColumn([10, 9])}).names == ("9", "10")


def test_near_duplicates_of_images(show: Show, tree: Path) -> None:
    """One is stored as a JPEG of the best quality, one is a little brighter."""
    with Image.open(tree / "train" / "ant" / "2.png") as image:
        image.save(tree / "test" / "ant" / "copy.bmp")
        image.point(lambda value: min(255, value + 2)).save(tree / "test" / "bee" / "bright.png")
    test = show(*images_of(tree, "format=json", "near=true"))["splits"]["test"]
    assert test["repeats"]["near"] == 2 and test["size"] == 8


def test_a_mean_far_from_the_data_is_told_with_what_to_type(show: Show, tree: Path) -> None:
    words = images_of(tree, "task.mean=[0.1,0.1,0.1]", "task.std=[0.3,0.3,0.3]", "format=json")
    (sentence,) = [each for each in show(*words)["warnings"] if "pixels have" in each]
    typed = sentence.partition("type ")[2].split()
    again = show(*images_of(tree, *typed, "format=json"))["warnings"]
    assert re.match(r"task\.mean=\[0\.(49|50)", typed[0]) and not any(
        "pixels have" in x for x in again
    )


def test_dark_images_are_brightened_before_they_are_normalised(show: Show, tree: Path) -> None:
    """12 bits in files of 16: the range is suggested, and no mean of what is nearly black."""
    for path in tree.rglob("*.*"):
        if path.is_file():
            path.unlink()
            levels = np.random.default_rng(0).integers(0, 4096, (16, 16), dtype=np.uint16)
            Image.fromarray(levels).save(path.with_suffix(".png"))
    shown = show(*images_of(tree, "format=json"))
    assert not any("pixels have" in each for each in shown["warnings"])
    assert any("task.value_range=[0,4095]" in note for note in shown["notes"])


def test_a_sample_of_a_large_split(show: Show, tree: Path) -> None:
    train = show(*images_of(tree, "sample=8", "format=json"))["splits"]["train"]
    assert train["pixels"]["images"] == train["sampled"] == 8 and train["size"] == 32
    _, out, _ = show(*images_of(tree, "sample=8"))
    assert "images, of a sample that is evenly spaced (sample=null: of all)" in out
    assert "of a sample" not in show(*images_of(tree, "sample=null"))[1]


def test_the_table_and_the_page(show: Show, tree: Path, tmp_path: Path) -> None:
    page = tmp_path / "data.html"
    code, out, _ = show(*images_of(tree, f"html={page}", "examples=2"))
    assert code == 0 and "│ bee   │     2 │    3 │" in out and "\x1b" not in out
    assert "  [ant] 16x16 RGB" in out and "warning: train: classes are very unequal" in out
    html = page.read_text(encoding="utf-8")
    assert html.count("data:image/png;base64,") == 4 and "<td>bee</td><td>2</td><td>3</td>" in html
    assert not re.search(r"""(src|href)=["'](?!data:)""", html)


def test_the_page_takes_texts_as_texts(show: Show, tmp_path: Path) -> None:
    split = {"text": ["<script>alert(1)</script> & more"] * 2, "label": [0, 1]}
    parquet(tmp_path / "TREC", train=split, test={"text": ["other"], "label": [1]})
    words = (f"source={tmp_path}", "task.names=[TREC]", "backbone=bert_mini", *BYTES)
    code, _, err = show("task=text_classification", *words, f"html={tmp_path / 'p.html'}")
    assert code == 0, err
    html = (tmp_path / "p.html").read_text(encoding="utf-8")
    assert "<script>" not in html and "&lt;script&gt;alert(1)" in html


def test_thumbnails_in_a_terminal_with_colours() -> None:
    """Two pixels of a column in one character: red above blue, then green above white."""
    from moesuite.data.terminal import thumbnail

    image = Image.new("RGB", (2, 2))
    image.putdata([(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)])
    text = thumbnail(image)
    assert text.plain == "▀▀"
    assert [str(span.style) for span in text.spans] == [
        "rgb(255,0,0) on rgb(0,0,255)",
        "rgb(0,255,0) on rgb(255,255,255)",
    ]


def test_texts_that_are_cut(show: Show, tmp_path: Path) -> None:
    split = {"text": ["four", "a text of more than 24 letters"] * 30, "label": [0, 1] * 30}
    parquet(tmp_path / "TREC", train=split, test={"text": ["", "FOUR!"], "label": [1, 1]})
    words = (f"source={tmp_path}", "task.names=[TREC]", "backbone=bert_mini", *BYTES)
    found = show("task=text_classification", *words, "near=true", "format=json")
    train, test = found["splits"]["train"], found["splits"]["test"]
    assert train["lengths"]["cut"] == 0.5 and train["lengths"]["limit"] == 24
    assert train["repeats"]["within"] == 58 and test["repeats"]["near"] == 1
    assert test["examples"][1] == {"label": "1", "texts": ["FOUR!"]}
    silent = show("task=text_classification", *words, "examples=0", "format=json")
    assert silent["splits"]["train"] == train | {
        "examples": [],
        "repeats": train["repeats"] | {"near": None},
    }
    assert found["warnings"] == [
        "train: 58 examples equal to an earlier one of the split",
        "train: 50 % of the texts are cut at task.length=24; 90 % have at most 31 tokens",
        "test: only 2 examples: each moves a share by 50 %",
        "test: 1 example equal or nearly equal to some of train",
        "test: all examples have the class 1",
        "test: 1 of 2 texts empty",
        "test: no example of the class 0",
    ]


def test_every_family_is_shown(show: Show, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text(
        "a line of more or less forty characters, number\n" * 200, encoding="utf-8"
    )
    sources = {
        "tinyshakespeare": (tmp_path / "text.txt", ["task.length=16"]),
        "stdlib_search": (search_folder(tmp_path / "search"), BYTES),
        "glue": (
            understanding_folder(tmp_path / "glue", "glue", "cola"),
            ["task.subset=cola", *BYTES],
        ),
        "preferences_text": (dialogue(tmp_path / "hh", "hh"), BYTES),
    }
    for task, (source, words) in sources.items():
        code, out, err = show(f"task={task}", f"source={source}", *words)
        assert code == 0, err
        assert "first examples of train" in out and "│ train │" in out, task
    assert (
        "[unacceptable] sentence has 0 words"
        in show("task=glue", f"source={tmp_path / 'glue'}", "task.subset=cola", *BYTES)[1]
    )


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["source=my_folder"], "task=imagenet source=my_folder"),
        (["task=digts"], "digits"),
        (["task=digits", "examples=-1"], "greater than or equal to 0"),
        (["task=digits", "sampel=3"], "unknown option 'sampel'; nearest: sample"),
        (["task=stl10", "source="], "task.source is empty"),
        (["task=stl10", "source=~nobody"], "task.source=~nobody does not exist"),
        (["task=digits", "html=/"], "html=/ is a folder; expected a file; type for example html="),
        (["cards=/"], "cards=/ is a folder"),
        (["task=digits", "format=csv"], "'table' or 'json'"),
        (["task=stl10", "source=/nowhere"], "task.source=/nowhere does not exist"),
        (["task=digits", "html=/dev/null/a.html"], "html=/dev/null/a.html cannot be written"),
        (["cards=/dev/null/tasks.md"], "cards=/dev/null/tasks.md cannot be written"),
    ],
)
def test_bad_input_is_one_line(words: list[str], says: str, show: Show) -> None:
    code, out, err = show(*words)
    assert code == 2 and out == "" and says in err
    assert err.startswith("error: ") and err.count("\n") == 1


def test_help_explains_every_option(show: Show) -> None:
    code, out, _ = show("--help")
    assert code == 0
    for option in ("source=null", "examples=3", "sample=2000", "near=false", "html=", "format="):
        assert f"  {option}" in out
