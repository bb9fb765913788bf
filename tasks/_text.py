"""Text as tokens: read, split, turned into numbers once, and kept as memory-mapped arrays."""

from __future__ import annotations

import gzip
import hashlib
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moesuite.task import UserError, cache_folder, load_source
from moesuite.tasks._stdlib import read_library

SHARES = {"train": 0.9, "val": 0.05, "test": 0.05}  # of one long text, in this order, as is usual for enwik8 and text8
UNKNOWN = "<unk>"
OWN = ("byte", "character", "word", "bpe")  # tokenizers without a file
BPE_SIZE = 8192


@dataclass(frozen=True)
class Corpus:
    """Text as read: documents of each role, the fingerprint of what was read, and one line about it."""

    documents: Mapping[str, Sequence[bytes]]
    fingerprint: str
    description: str

    def size(self, role: str) -> int:
        """Bytes of a split, a line end after each document included."""
        return sum(len(document) + 1 for document in self.documents[role])


def read_stdlib() -> Corpus:
    """Return the source of Python's standard library, split by module."""
    library = read_library({role: SHARES[role] for role in ("test", "val")})
    return Corpus(library.files, library.fingerprint, library.description)


def read_text(
    source: str | None,
    hub: str | None,
    revision: str | None,
    config: str | None,
    splits: Mapping[str, str],
    column: str,
) -> Corpus:
    """Read text files, or a data set with a column of text; see `moesuite.source.load_source`.

    Raises:
        UserError: for a source that is missing, empty, not UTF-8, or without the column.
    """
    path = Path(source).expanduser() if source is not None else None
    if path is not None and path.exists() and path.suffix != ".parquet" and not list(path.glob("**/*.parquet")):
        return _read_files(path, splits)
    loaded = load_source(source, hub, revision, config, splits)
    documents = {}
    for role, rows in loaded.splits.items():
        if column not in rows.column_names:
            columns = ", ".join(rows.column_names)
            raise UserError(
                f"{loaded.description}, split {role} has no column {column!r}; its columns: {columns}; type for "
                f"example task.column={rows.column_names[0]}"
            )
        documents[role] = [text.rstrip("\n").encode() for text in rows[column]]
    return _with_all_splits(documents, loaded.fingerprint, loaded.description)


def _read_files(path: Path, splits: Mapping[str, str]) -> Corpus:
    """Read one text file, or a folder of files whose names begin with the name of their split."""
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    digest, documents = hashlib.sha256(), dict[str, list[bytes]]()
    for file in files:
        content = file.read_bytes()
        _check_utf8(file, content)
        digest.update(hashlib.sha256(content).digest())
        role = next((role for role, name in splits.items() if file.name.startswith((name, role))), "train")
        documents.setdefault(role, []).append(content.rstrip(b"\n"))
    if not any(any(texts) for texts in documents.values()):
        raise UserError(
            f"task.source={path} is empty: no text; allowed: a text file, or a folder of train*.txt, test*.txt"
        )
    return _with_all_splits(documents, f"sha256:{digest.hexdigest()}", f"text of {path.name}")


def _check_utf8(file: Path, content: bytes) -> None:
    try:
        content.decode()
    except UnicodeDecodeError as error:
        raise UserError(
            f"{file}: not UTF-8 at byte {error.start}; allowed: UTF-8 text; type for example "
            f"iconv -f latin1 -t utf8 {file.name}"
        ) from None


def _with_all_splits(documents: dict[str, list[bytes]], fingerprint: str, description: str) -> Corpus:
    """Cut one text that has no test split into 90 % train, 5 % val and 5 % test, in this order."""
    if not documents.get("train"):
        raise UserError(
            f"{description} has no text to train on; allowed: files named train*.txt beside test*.txt, or one text "
            "file; type for example task.splits.train=<how their names begin>"
        )
    if "test" not in documents:
        text = b"\n".join(documents["train"])
        ends = np.cumsum([round(len(text) * share) for share in SHARES.values()])
        begins = [0, *ends[:-1]]
        documents = {role: [text[a:b]] for role, a, b in zip(SHARES, begins, [*ends[:-1], len(text)], strict=True)}
    for role, texts in documents.items():
        if not any(texts):
            raise UserError(f"{description}: split {role} is empty; allowed: some text in every split")
    return Corpus(documents, fingerprint, description)


@dataclass(frozen=True)
class Tokenizer:
    """How text becomes numbers.

    Attributes:
        identity: what the cache of tokens depends on.
        size: of the vocabulary.
        encode: one document -> token ids.
    """

    identity: str
    size: int
    encode: Callable[[bytes], NDArray[Any]]


def build_tokenizer(name: str, train: Sequence[bytes]) -> Tokenizer:
    """Return a tokenizer.

    Args:
        name: "byte"; "character", "word" or "bpe" (vocabulary of the training split); or a folder or hub id.
        train: training documents.

    Raises:
        UserError: for a tokenizer that cannot be loaded.
    """
    if name == "byte":
        return Tokenizer("byte", 256, lambda document: np.frombuffer(document + b"\n", dtype=np.uint8))
    if name in ("character", "word"):
        return _own_vocabulary(name, train)
    if name == "bpe":
        return _trained_bpe(train)
    loaded = load_tokenizer(name)
    identity = hashlib.sha256(repr(sorted(loaded.get_vocab().items())).encode()).hexdigest()
    return Tokenizer(
        identity,
        len(loaded),
        lambda text: np.array(loaded(text.decode() + "\n", add_special_tokens=False)["input_ids"]),
    )


def load_tokenizer(name: str) -> Any:
    """Load a tokenizer of Hugging Face from a folder or the hub.

    Raises:
        UserError: if it cannot be loaded.
    """
    import transformers

    try:
        return transformers.AutoTokenizer.from_pretrained(name)
    except (OSError, ValueError) as error:
        raise UserError(
            f"task.tokenizer={name}: cannot be loaded ({str(error).splitlines()[0]}); allowed: {', '.join(OWN)}, "
            "or a folder with tokenizer.json; without a network, copy one and type task.tokenizer=path/to/it"
        ) from None


def _trained_bpe(train: Sequence[bytes]) -> Tokenizer:
    """Train byte-pair encoding of `BPE_SIZE` tokens over bytes on the training split."""
    from tokenizers import ByteLevelBPETokenizer

    bpe = ByteLevelBPETokenizer()
    texts = (document.decode(errors="replace") for document in train)
    bpe.train_from_iterator(texts, vocab_size=BPE_SIZE, min_frequency=2, show_progress=False)
    identity = hashlib.sha256(bpe.to_str().encode()).hexdigest()
    return Tokenizer(
        identity, bpe.get_vocab_size(), lambda text: np.array(bpe.encode(text.decode(errors="replace") + "\n").ids)
    )


def _own_vocabulary(name: str, train: Sequence[bytes]) -> Tokenizer:
    """Number the characters, or the words and line ends, of the training split, the most frequent first."""

    def cut(document: bytes) -> Sequence[str]:
        text = document.decode() + "\n"
        return text if name == "character" else text.replace("\n", " <eos> ").split()

    counts = Counter[str]()
    for document in train:
        counts.update(cut(document))
    counts.setdefault(UNKNOWN, 0)
    numbers = {symbol: number for number, symbol in enumerate(sorted(counts, key=lambda s: (-counts[s], s)))}
    unknown = numbers[UNKNOWN]
    identity = hashlib.sha256(f"{name} {list(numbers)}".encode()).hexdigest()
    return Tokenizer(identity, len(numbers), lambda text: np.array([numbers.get(s, unknown) for s in cut(text)]))


def tokens_of(corpus: Corpus, role: str, tokenizer: Tokenizer) -> NDArray[Any]:
    """Return the tokens of a split, one document after the other, memory-mapped; made once."""
    dtype = np.uint8 if tokenizer.size <= 2**8 else np.uint16 if tokenizer.size <= 2**16 else np.uint32
    # the fingerprint is of what was read; how it was split shows in the sizes
    part = f"{role} {len(corpus.documents[role])} {corpus.size(role)}"
    key = hashlib.sha256(f"{corpus.fingerprint} {part} {tokenizer.identity}".encode()).hexdigest()[:32]
    path = cache_folder() / "tokens" / f"{key}.npy"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        tokens = np.concatenate([tokenizer.encode(document).astype(dtype) for document in corpus.documents[role]])
        handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".part")
        with os.fdopen(handle, "wb") as stream:
            np.save(stream, tokens)
        Path(temporary).replace(path)
    return np.load(path, mmap_mode="r")


def gzip_bits_per_byte(corpus: Corpus, role: str) -> float:
    """Return what `gzip -9` needs for a split."""
    text = b"\n".join([*corpus.documents[role], b""])
    return 8 * len(gzip.compress(text, 9)) / len(text)
