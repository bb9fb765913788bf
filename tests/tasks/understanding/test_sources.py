"""GLUE and SuperGLUE as their own archives hold them, and sets of your own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from moesuite import UserError, compose
from moesuite.train.build import build_task
from tests.helpers import invoke
from tests.tasks.glue import BYTES

WORDS = (*BYTES, "backbone=bert_mini")
MNLI = "index\tsentence1\tsentence2\tlabel1\tgold_label\n"
# suite and set, text of each file -> texts and answers of training, of the test split
READ: dict[str, tuple[str, str, dict[str, str], list[Any], list[Any]]] = {
    "CoLA has no header": (
        "glue", "cola",
        {
            "CoLA/train.tsv": 'gj04\t1\t\tOne "odd.\ngj04\t0\t*\tTwo.\n',
            "CoLA/dev.tsv": "x\t1\t\tThree, it is.\n",
            "CoLA/test.tsv": "index\tsentence\n0\tFour.\n",
        },
        [(('One "odd.',), "acceptable"), (("Two.",), "unacceptable")],
        [(("Three, it is.",), "acceptable")],
    ),
    "SST-2": (
        "glue", "sst2",
        {
            "SST-2/train.tsv": "sentence\tlabel\nhides new secretions \t0\n",
            "SST-2/dev.tsv": "sentence\tlabel\nit 's fun\t1\n",
        },
        [(("hides new secretions ",), "negative")], [(("it 's fun",), "positive")],
    ),
    "MRPC": (
        "glue", "mrpc",
        {
            f"MRPC/{split}.tsv": "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\n"
            f'1\t7\t8\t"{split}" he said .\tHe said "{split}"\n'
            for split in ("train", "dev")
        },
        [(('"train" he said .', 'He said "train"'), "equivalent")],
        [(('"dev" he said .', 'He said "dev"'), "equivalent")],
    ),
    "STS-B": (
        "glue", "stsb",
        {
            f"STS-B/{split}.tsv": "index\tgenre\tsentence1\tsentence2\tscore\n"
            f"0\tx\t{split}\tb\t2.5\n"
            for split in ("train", "dev")
        },
        [(("train", "b"), 2.5)], [(("dev", "b"), 2.5)],
    ),
    "QQP": (
        "glue", "qqp",
        {
            f"QQP/{split}.tsv": "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n"
            f"1\t2\t3\t{split}?\twhy?\t1\n"
            for split in ("train", "dev")
        },
        [(("train?", "why?"), "duplicate")], [(("dev?", "why?"), "duplicate")],
    ),
    "MNLI has two": (
        "glue", "mnli",
        {
            "MNLI/train.tsv": f"{MNLI}0\tit rains\tit is wet\tneutral\tentailment\n",
            "MNLI/dev_mismatched.tsv": f"{MNLI}0\ta\tb\tneutral\tcontradiction\n",
            "MNLI/dev_matched.tsv": f"{MNLI}0\tc\td\tneutral\tneutral\n",
            "MNLI/test_matched.tsv": "index\tsentence1\tsentence2\n0\te\tf\n",
        },
        [(("it rains", "it is wet"), "entailment")],
        [(("c", "d"), "neutral"), (("a", "b"), "contradiction")],
    ),
    "RTE in strings": (
        "glue", "rte",
        {
            "RTE/train.csv": "sentence1,sentence2,label\na,b,not_entailment\n",
            "RTE/valid.csv": "sentence1,sentence2,label\nc,d,Entailment\n",
        },
        [(("a", "b"), "not_entailment")], [(("c", "d"), "entailment")],
    ),
    "BoolQ in lines": (
        "superglue", "boolq",
        {
            "BoolQ/train.jsonl": '{"question": "is it", "passage": "p", "idx": 0, "label": true}\n',
            "BoolQ/val.jsonl": '{"question": "was it", "passage": "q", "idx": 0, "label": false}\n',
        },
        [(("is it", "p"), "True")], [(("was it", "q"), "False")],
    ),
    "CB in lines": (
        "superglue", "cb",
        {
            f"CB/{split}.jsonl": f'{{"premise":"{split}","hypothesis":"h","label":"neutral"}}\n'
            for split in ("train", "val")
        },
        [(("h", "train"), "neutral")], [(("h", "val"), "neutral")],
    ),
    "WSC keeps spans in one column": (
        "superglue", "wsc",
        {
            f"WSC/{split}.jsonl": f'{{"text": "Ann {split} as she ran.", "label": true, "target": '
            '{"span1_index": 0, "span1_text": "Ann", "span2_index": 3, "span2_text": "she"}}\n'
            for split in ("train", "val")
        },
        [(("she: Ann", "#Ann# train as *she* ran."), "True")],
        [(("she: Ann", "#Ann# val as *she* ran."), "True")],
    ),
    "the folder of the set itself": (
        "glue", "wnli",
        {
            f"{split}.tsv": f"sentence1\tsentence2\tlabel\n{split}\tb\t1\n"
            for split in ("train", "dev")
        },
        [(("train", "b"), "entailment")], [(("dev", "b"), "entailment")],
    ),
}  # fmt: skip


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")


def examples(task: Any, split: str) -> list[Any]:
    return [(each.texts, each.label) for each in task.preview(split).examples]


@pytest.mark.parametrize("name", READ)
def test_what_is_read(name: str, tmp_path: Path) -> None:
    suite, subset, files, train, test = READ[name]
    write(tmp_path, files)
    words = (f"task={suite}", f"task.subset={subset}", f"task.source={tmp_path}", *WORDS)
    task = build_task(compose(*words).task)
    assert (examples(task, "train"), examples(task, "test")) == (train, test)
    unused = [Path(file).name for file in files if Path(file).name.startswith("test")]
    assert task.notes == tuple(f"not used: {file}" for file in unused)


OWN = "+task.sets.mine={texts:[a,b],labels:[no,yes],metrics:[accuracy]}"
ROWS = "a,b,label\nhello,good day,yes\nhi,bye,no\n"
REFUSED = {
    "a label that is none": (
        OWN, {"mine/train.csv": ROWS, "mine/test.csv": ROWS.replace("no", "never")},
        "mine, split validation: label 'never' is out of range; expected 0 to 1, or no, yes",
    ),
    "hidden labels": (
        OWN, {"mine/train.csv": ROWS, "mine/dev.csv": "a,b,label\nx,y,-1\n"},
        "mine, split validation: label -1 is out of range; expected 0 to 1 (labels of the "
        "benchmark's own test split are not public)",
    ),
    "no labels declared": (
        "+task.sets.mine={texts:[a,b],metrics:[accuracy]}",
        {"mine/train.csv": ROWS, "mine/test.csv": ROWS},
        "mine, split train: task.sets.mine lacks texts or labels; its columns: a, b, label; type "
        "for example '+task.sets.mine={texts:[a,b],labels:[no,yes],metrics:[accuracy]}'",
    ),
    "the same examples in both splits": (
        OWN, {"mine/train.csv": ROWS, "mine/test.csv": ROWS},
        "mine of csv files of mine: all examples for training stand in the test split too; "
        "expected others",
    ),
    "text files": (
        OWN, {"mine/msr_train.txt": "x\n"},
        "task.source={root}: expected tables (parquet, csv, tsv, jsonl, json, arrow, save_to_disk) "
        "with the columns a, b, label; it holds 1 .txt (msr_train.txt); such files are read by "
        "task=tinyshakespeare",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name: str, tmp_path: Path) -> None:
    declared, files, sentence = REFUSED[name]
    write(tmp_path, files)
    words = ("task=glue", declared, "task.subset=mine", f"task.source={tmp_path}", *WORDS)
    with pytest.raises(UserError) as error:
        build_task(compose(*words).task)
    assert str(error.value) == sentence.replace("{root}", str(tmp_path / "mine"))


def test_a_set_of_your_own_trains_by_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A lone file: a tenth of it is held out."""
    lines = [f"text {n},other {n},{'yes' if n % 2 else 'no'}\n" for n in range(20)]
    write(tmp_path, {"mine.csv": "a,b,label\n" + "".join(lines)})
    words = ["task=glue", OWN, "task.subset=mine", f"task.source={tmp_path / 'mine.csv'}"]
    words += [*WORDS, "backbone.kwargs.hidden_size=32", "backbone.kwargs.num_attention_heads=2"]
    words += ["trainer.max_steps=1", "measure=false", f"records={tmp_path / 'runs'}", "logger=none"]
    assert invoke(monkeypatch, *words, "trainer.enable_progress_bar=false") == 0
    printed = capsys.readouterr()
    assert "a tenth of the training split held out" in printed.out + printed.err
    assert len(list((tmp_path / "runs" / "glue_mine").glob("*/*.json"))) == 1
