"""Tables as people have them: formats, compression, dialects, broken files."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from moesuite.errors import UserError
from moesuite.sources.tables import read_tables
from tests.sources.files import write

TEXTS, LABELS = ["to be", "or not"], [0, 1]
ROWS = {"text": TEXTS, "label": LABELS}
OBJECTS = [{"text": text, "label": label} for text, label in zip(TEXTS, LABELS, strict=True)]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOESUITE_CACHE", str(tmp_path / "cache"))


def parquet(columns: dict[str, Any]) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue()


def arrow(stream: bool) -> bytes:
    sink, rows = io.BytesIO(), pa.table(ROWS)
    with (pa.ipc.new_stream if stream else pa.ipc.new_file)(sink, rows.schema) as writer:
        writer.write_table(rows)
    return sink.getvalue()


LINES = "".join(json.dumps(row) + "\n" for row in OBJECTS)
CSV, TSV = "text,label\nto be,0\nor not,1\n", "text\tlabel\nto be\t0\nor not\t1\n"
FORMATS: dict[str, str | bytes] = {
    ".jsonl": LINES,
    ".ndjson": LINES,
    ".json": json.dumps(OBJECTS),
    ".csv": CSV,
    ".tsv": TSV,
}
PACKED: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".zst": zstandard.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
}
SHAPES: dict[str, tuple[str, str | bytes]] = {
    "parquet": ("a.parquet", parquet(ROWS)),
    "an Arrow stream": ("a.arrow", arrow(stream=True)),
    "an Arrow file": ("a.arrow", arrow(stream=False)),
    "capitals": ("A.CSV", CSV),
    "semicolons": ("a.csv", CSV.replace(",", ";")),
    "bars": ("a.csv", CSV.replace(",", "|")),
    "tabs in CSV": ("a.csv", TSV),
    "line ends of Windows": ("a.csv", CSV.replace("\n", "\r\n")),
    "no last line end": ("a.csv", CSV.rstrip("\n")),
    "a mark of byte order in CSV": ("a.csv", b"\xef\xbb\xbf" + CSV.encode()),
    "a mark of byte order in JSON lines": ("a.jsonl", b"\xef\xbb\xbf" + LINES.encode()),
    "a mark of byte order in JSON": ("a.json", b"\xef\xbb\xbf" + json.dumps(OBJECTS).encode()),
    "JSON lines called JSON": ("a.json", LINES),
    "indented JSON": ("a.json", json.dumps(OBJECTS, indent=2)),
    "one list within": ("a.json", json.dumps({"version": 1, "data": OBJECTS})),
    "columns": ("a.json", json.dumps(ROWS)),
    "two frames": ("a.csv.zst", zstandard.compress(CSV[:9].encode())
                   + zstandard.compress(CSV[9:].encode())),
}  # fmt: skip


@pytest.mark.parametrize("packed", PACKED)
@pytest.mark.parametrize("suffix", FORMATS)
def test_every_format_in_every_compression(suffix: str, packed: str, tmp_path: Path) -> None:
    content = FORMATS[suffix]
    assert isinstance(content, str)
    file = tmp_path / f"a{suffix}{packed}"
    file.write_bytes(PACKED[packed](content.encode()))
    assert read_tables([file], "here").to_dict() == ROWS


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape(shape: str, tmp_path: Path) -> None:
    name, content = SHAPES[shape]
    write(tmp_path, {name: content})
    assert read_tables([tmp_path / name], shape).to_dict() == ROWS


CELLS: dict[str, tuple[str, str, dict[str, list[Any]]]] = {
    "words that look missing": (
        "a.csv",
        "text,n\nNA,1\nnull,2\nNone,3\nnan,4\n,5\n",
        {"text": ["NA", "null", "None", "nan", None], "n": [1, 2, 3, 4, 5]},
    ),
    "quoted separators and line ends": (
        "a.csv",
        'text,n\n"a, b",1\n"c\nd",2\n"say ""e""",3\n',
        {"text": ["a, b", "c\nd", 'say "e"'], "n": [1, 2, 3]},
    ),
    "quotes that are characters, as in GLUE": (
        "a.tsv",
        'n\ttext\n1\t"a\n2\tb"\n3\tc\n',
        {"n": [1, 2, 3], "text": ['"a', 'b"', "c"]},
    ),
    "a lone quote": ("a.tsv", 'n\ttext\n1\t"a\n2\tb\n', {"n": [1, 2], "text": ['"a', "b"]}),
    "quotes that are quotes in TSV": (
        "a.tsv",
        'n\ttext\n1\t"a\tb"\n2\tc\n',
        {"n": [1, 2], "text": ["a\tb", "c"]},
    ),
    "keys that only some rows have, JSON": (
        "a.json",
        '[{"a": 1}, {"a": 2, "b": "x"}]',
        {"a": [1, 2], "b": [None, "x"]},
    ),
    "keys that only some rows have, JSON lines": (
        "a.jsonl",
        '{"a": 1}\n\n{"a": 2, "b": "x"}\n',
        {"a": [1, 2], "b": [None, "x"]},
    ),
}


@pytest.mark.parametrize("case", CELLS)
def test_cells(case: str, tmp_path: Path) -> None:
    name, content, expected = CELLS[case]
    write(tmp_path, {name: content})
    assert read_tables([tmp_path / name], case).to_dict() == expected


GZ = gzip.compress(CSV.encode() * 50)
BROKEN: dict[str, tuple[dict[str, str | bytes], str]] = {
    "latin1": (
        {"a.csv": "text\ncafé\n".encode("latin1")},
        r"a.csv: not UTF-8 .*type for example iconv -f latin1 -t utf8 .*a.csv > .* && mv",
    ),
    "latin1 in JSON lines": ({"a.jsonl": '{"a": "é"}'.encode("latin1")}, "a.jsonl: not UTF-8"),
    "latin1, compressed": (
        {"a.csv.gz": gzip.compress("text\ncafé\n".encode("latin1"))},
        "a.csv.gz: not UTF-8 .*; convert its content by iconv -f latin1 -t utf8$",
    ),
    "UTF-16, as of Excel": ({"a.csv": CSV.encode("utf-16")}, "not UTF-8 .*iconv -f utf-16 -t"),
    "cut .gz": ({"a.csv.gz": GZ[:-9]}, "a.csv.gz: cannot be decompressed .*expected a whole .gz"),
    "cut .zst": (
        {"a.csv.zst": zstandard.compress(CSV.encode() * 50)[:-5]},
        "a.csv.zst: cannot be decompressed .it ends within a frame.; expected a whole .zst file",
    ),
    "no .gz": ({"a.csv.gz": CSV}, "a.csv.gz: cannot be decompressed .Not a gzipped file"),
    "a broken line": (
        {"a.jsonl": LINES * 5 + '{"text": \n' + LINES},
        'a.jsonl: unreadable: line 11: Expecting value: {"text":; expected one JSON object in each',
    ),
    "a line that is no object": (
        {"a.jsonl": LINES + "[1, 2]\n"},
        r"a.jsonl: unreadable: line 3: \[1, 2\]; expected one JSON object in each line",
    ),
    "a broken line of JSON lines called JSON": (
        {"a.json": LINES + '{"text": \n'},
        'a.json: unreadable: line 3: Expecting value: {"text":',
    ),
    "broken JSON": ({"a.json": '[{"a": 1},\n{"a": }]'}, "a.json: unreadable: .*: line 2 column 7"),
    "no objects": ({"a.json": "[1, 2]"}, "a.json: unreadable: expected a list of objects"),
    "more cells than columns": (
        {"a.csv": "a,b\n1,2\n1,2,3\n"},
        "a.csv: unreadable: .*Expected 2 fields in line 3, saw 3",
    ),
    "parquet without rows": (
        {"a.parquet": parquet({"text": pa.array([], pa.string())})},
        "a.parquet: a split is empty; expected at least one row",
    ),
    "a pointer of git-lfs": (
        {"a.parquet": "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"},
        "a.parquet: a pointer of git-lfs, not its content; type git lfs pull in its repository",
    ),
    "two columns of one name": (
        {"a.csv": "text,label,label\nto be,0,3\n"},
        "a.csv: unreadable: two columns are called 'label'; expected a name of its own for each",
    ),
    "cut parquet": ({"a.parquet": parquet(ROWS)[:-20]}, "a.parquet: unreadable: Parquet magic"),
    "parquet of other columns": (
        {"1.parquet": parquet(ROWS), "2.parquet": parquet({"story": ["x"]})},
        "1.parquet, .*2.parquet: unreadable: its files differ in their columns; expected the same",
    ),
    "CSV of other separators": (
        {"1.csv": CSV, "2.csv": CSV.replace(",", ";")},
        "1.csv, .*2.csv: unreadable: its files differ in their columns",
    ),
    **{
        f"no rows in {name}": ({name: content}, "a split is empty; expected at least one row")
        for name, content in {
            "a.csv": "",
            "b.csv": "text,label\n",
            "a.tsv": "",
            "a.jsonl": "",
            "b.jsonl": "\n\n",
            "a.json": "",
            "b.json": "[]",
            "a.parquet": b"",
            "a.csv.gz": gzip.compress(b""),
        }.items()
    },
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_cannot_be_read_is_one_clear_line(case: str, tmp_path: Path) -> None:
    files, says = BROKEN[case]
    write(tmp_path / "own", files)
    with pytest.raises(UserError, match=says) as refused:
        read_tables([tmp_path / "own" / name for name in files], case)
    line = str(refused.value)
    assert "\n" not in line and "cache" not in line  # the user's file, not a copy of it
