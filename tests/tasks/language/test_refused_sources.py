"""What is no text is refused in one sentence, which says what was given and what to type."""

from __future__ import annotations

import gzip
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from moesuite.errors import UserError
from moesuite.tasks.language.reading import read_sequences
from moesuite.tasks.options import Tokens
from moesuite.tasks.text.corpus import READABLE, TextSource, read_text

EXPECTED = f"expected {READABLE.words}"
CAFE = "un café noir " * 9
# content -> the sentence of refusal, with {f} for the file, {d} for its folder
REFUSED: dict[str, tuple[str, bytes, str]] = {
    "image": ("a.txt", b"\x89PNG\r\n\x1a\n\0\0", f"{{f}}: a PNG image, not text; {EXPECTED}"),
    "image by its name": (
        "a.jpg",
        b"\xff\xd8\xff\0",
        f"task.source={{d}}: {EXPECTED}; it holds 1 .jpg (a.jpg); such files are read by "
        "task=imagenet",
    ),
    "PDF": ("book.txt", b"%PDF-1.7 ...", f"{{f}}: a PDF, not text; {EXPECTED}"),
    "zip": (
        "text8.txt",
        b"PK\x03\x04...",
        f"{{f}}: a zip archive (also docx, epub, npz), not text; {EXPECTED}",
    ),
    "zero bytes": (
        "a.txt",
        b"ab\0cd",
        f"{{f}}: binary (a zero byte at 2), not text; {EXPECTED}",
    ),
    "gzip by another name": (
        "train.txt",
        gzip.compress(b"ab"),
        f"{{f}}: a gzip file, not text; {EXPECTED}; type for example mv {{f}} {{f}}.gz",
    ),
    "no gzip": (
        "a.txt.gz",
        b"to be",
        "{f}: cannot be decompressed (Not a gzipped file (b'to')); expected a whole .gz file",
    ),
    "half a gzip": (
        "a.txt.gz",
        gzip.compress(os.urandom(9000))[:4000],
        "{f}: cannot be decompressed (Compressed file ended before the end-of-stream marker was "
        "reached); expected a whole .gz file",
    ),
    "Latin-1": (
        "a.txt",
        CAFE.encode("latin1"),
        "{f}: not UTF-8 at byte 6; expected UTF-8 text; type iconv -f latin1 -t utf8 {f} > "
        "{d}/a.utf8 && mv {d}/a.utf8 {f}",
    ),
    "Windows-1252": (
        "a.txt",
        "a rock ’n’ roll".encode("cp1252"),
        "{f}: not UTF-8 at byte 7; expected UTF-8 text; type iconv -f windows-1252 -t utf8 {f} > "
        "{d}/a.utf8 && mv {d}/a.utf8 {f}",
    ),
    "Latin-1 in gzip": (
        "a.txt.gz",
        gzip.compress(CAFE.encode("latin1")),
        "{f}: not UTF-8 at byte 6; expected UTF-8 text; type gzip -dc {f} | iconv -f latin1 -t "
        "utf8 | gzip > {d}/a.txt.utf8 && mv {d}/a.txt.utf8 {f}",
    ),
    "Russian": (
        "a.txt",
        "привет".encode("koi8-r"),
        "{f}: not UTF-8 at byte 0; expected UTF-8 text; convert it by iconv -t utf8 -f and its "
        "encoding",
    ),
    "empty": ("a.txt", b"\n", f"text of source, 90/5/5 in its order is empty: no text; {EXPECTED}"),
    "no byte": ("a.txt", b"", f"text of source, 90/5/5 in its order is empty: no text; {EXPECTED}"),
    "only what describes data": (
        "changes.txt",
        b"to be",
        f"task.source={{d}}: {EXPECTED}; it holds only what describes data: changes.txt",
    ),
    "JSON lines by another name": (
        "a.txt",
        b'{"text": "to be"}\n{"text": "or not"}\n',
        f"{{f}}: JSON lines, not text; {EXPECTED}; type for example mv {{f}} {{f}}.jsonl",
    ),
    "CSV by another name": (
        "a.txt",
        b"id,text\n1,to be\n",
        f"{{f}}: rows separated by commas, not text; {EXPECTED}; type for example mv {{f}} "
        "{f}.csv",
    ),
    "rich text": (
        "a.txt",
        rb"{\rtf1\ansi to be}",
        f"{{f}}: a rich text file (RTF), not text; {EXPECTED}",
    ),
    "no file": (".hidden", b"a", f"task.source={{d}}: {EXPECTED}; it is empty"),
    "only a test split": (
        "wiki.test.tokens",
        b"to be",
        "task.source={d} has no text to train on, only wiki.test.tokens; expected one text file, "
        "or train*.txt beside valid*.txt and test*.txt; name the text to train on train.txt",
    ),
    "pairs": (
        "train.jsonl",
        b'{"chosen": "yes", "rejected": "no"}\n' * 2,
        "jsonl files of source, a tenth of the training split held out, split train has no column "
        "'text', and more than one that could be it: chosen, rejected; its columns: chosen "
        "(string), rejected (string); expected a column of text; type for example "
        "task.column=chosen; such columns are read by task=preferences_text",
    ),
    "a table to test on": (
        "test.csv",
        b"text\nto be\n",
        "task.source={d}: no split 'train' among test.csv; name its file train.csv",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str, tmp_path: Path) -> None:
    file, content, says = REFUSED[name]
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / file).write_bytes(content)
    with pytest.raises(UserError) as refused:
        read_text(TextSource(source=str(folder))).read()
    assert str(refused.value) == says.format(d=folder, f=folder / file)


VERSIONS = (
    "wiki.train.raw and wiki.train.tokens are two versions of a split; expected one; type for "
    "example mkdir {d}.tokens && mv {d}/*.tokens {d}.tokens"
)
ONE_TEXT = "expected the splits of one text in one folder and one format"
ASIDE = {
    "two versions": (("wiki.train.tokens", "wiki.train.raw"), VERSIONS),
    "a test split of another format": (
        ("train.txt", "test.csv"),
        f"test.csv is a test split, but not of train.txt; {ONE_TEXT}; write it as .txt",
    ),
    "a test split in another folder": (
        ("train.txt", "a/test.txt", "b/test.txt"),
        f"a/test.txt is a test split, but not of train.txt; {ONE_TEXT}; move it to {{d}}",
    ),
    "a whole set in another folder": (
        ("train.txt", "data/train.txt", "data/test.txt"),
        f"data/test.txt is a test split, but not of train.txt; {ONE_TEXT}; type for example "
        "task.source={d}/data",
    ),
}


@pytest.mark.parametrize("name", ASIDE)
def test_no_part_is_held_out_beside_a_test_split(name: str, tmp_path: Path) -> None:
    files, says = ASIDE[name]
    for file in files:
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text("text\nto be\n", encoding="utf-8")
    with pytest.raises(UserError) as refused:
        read_text(TextSource(source=str(tmp_path)))
    assert str(refused.value) == f"task.source={tmp_path}: {says.format(d=tmp_path)}"


def test_a_link_to_nothing_is_no_broken_file(tmp_path: Path) -> None:
    (tmp_path / "train.txt").symlink_to(tmp_path / "gone")
    with pytest.raises(UserError, match=r"train.txt: a link to what is not there \(.*/gone\)"):
        read_text(TextSource(source=str(tmp_path)))


@pytest.mark.parametrize(
    ("column", "says"),
    [
        ("words", "has no column 'words'; its columns: text, n; type for example task.column=text"),
        ("n", "has no column 'n' of text; its columns: text, n; type for example task.column=text"),
    ],
)
def test_a_column_that_is_told_is_not_replaced(column: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("text,n\nto be,1\nor not,2\n", encoding="utf-8")
    (tmp_path / "test.csv").write_text("text,n\nto be,1\n", encoding="utf-8")
    with pytest.raises(UserError) as refused:
        read_text(TextSource(source=str(tmp_path), column=column))
    assert str(refused.value) == f"csv files of {tmp_path.name}, split train {says}"


@pytest.mark.skipif(shutil.which("iconv") is None, reason="iconv is not installed")
@pytest.mark.parametrize("name", ["Latin-1", "Windows-1252", "Latin-1 in gzip"])
def test_the_conversion_works_as_typed(name: str, tmp_path: Path) -> None:
    file, content, _ = REFUSED[name]
    path = tmp_path / f"my {file}"
    path.write_bytes(content)
    source = TextSource(source=str(path))
    with pytest.raises(UserError, match="; type ") as refused:
        read_text(source).read()
    command = str(refused.value).split("; type ")[1]
    subprocess.run(["bash", "-c", command], check=True)
    text = b"".join(part for parts in read_text(source).read().values() for part in parts)
    plain = content if path.suffix == ".txt" else gzip.decompress(content)
    assert text.decode() == plain.decode("cp1252")  # which is Latin-1 in all but its quotes
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_streams_are_of_tables_with_something_to_score(tmp_path: Path) -> None:
    source = TextSource(source=str(tmp_path), streaming=True)
    (tmp_path / "a.txt").write_text("to be", encoding="utf-8")
    with pytest.raises(UserError, match=r"without task.streaming=true text files are read too"):
        read_sequences(source, Tokens(), 8)
    (tmp_path / "train.jsonl").write_text('{"text": "to be"}\n', encoding="utf-8")
    with pytest.raises(UserError, match=r"no test or validation split.*type task.streaming=false"):
        read_sequences(source, Tokens(), 8)
