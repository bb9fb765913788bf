"""Tokenizers, and the tokens of a text: computed once and cached as memory-mapped arrays."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moesuite.sources.hub import offline_if_unreachable
from moesuite.task import UserError, as_path, cache_folder, cached
from moesuite.tasks.text.corpus import Text

UNKNOWN = "<unk>"
LEARNED = ("character", "word", "bpe")  # tokenizers that learn their vocabulary from the text
BUILT_IN = ("byte", *LEARNED)  # tokenizers without a file
Symbol = Callable[[int], str]
BPE_SIZE = 8192


@dataclass(frozen=True)
class Tokens:
    """The token ids of a text, by role, or by role and domain as in `Documents`.

    Attributes:
        splits: token ids, documents concatenated, memory-mapped.
        vocabulary: size of the vocabulary.
        size: bytes, including a line end after each document.
        gzip: bits that `gzip -9` needs for a byte of the test split.
        symbol: token id -> its text.
    """

    splits: Mapping[str, NDArray[Any]]
    vocabulary: int
    size: Mapping[str, int]
    gzip: float
    symbol: Symbol


def tokens_of(text: Text, tokenizer: str) -> Tokens:
    """Return the tokens of a text; the text is read only if they are not in the cache.

    Args:
        text: text to tokenise.
        tokenizer: as for `build_tokenizer`.
    """
    identity = tokenizer
    if tokenizer not in BUILT_IN:
        identity = _content(load_tokenizer(tokenizer))
    key = "\n".join((text.fingerprint, text.how, identity, "symbols"))
    name = hashlib.sha256(key.encode()).hexdigest()[:32]
    folder = cached(cache_folder() / "tokens" / name, partial(_write, text, tokenizer))
    about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
    splits = {role: np.load(_file(folder, role), mmap_mode="r") for role in about["size"]}
    return Tokens(
        splits,
        about["vocabulary"],
        about["size"],
        about["gzip"],
        _symbol(tokenizer, about["symbols"]),
    )


def _content(tokenizer: Any) -> str:
    """Return all that a Hugging Face tokenizer's ids follow from: merges and rules, too."""
    vocabulary = repr(sorted(tokenizer.get_vocab().items()))
    rules = tokenizer.backend_tokenizer.to_str() if tokenizer.is_fast else ""
    return f"{vocabulary} {rules}"


def _file(folder: Path, role: str) -> Path:
    """Return the file of a role, or of a domain's."""
    return folder / f"{role.replace('/', '-')}.npy"


def _symbol(tokenizer: str, symbols: Sequence[str]) -> Symbol:
    """Return token id -> text, by the cached `symbols` of a learned vocabulary if there are any."""
    return symbols.__getitem__ if symbols else build_tokenizer(tokenizer, []).symbol


def _write(text: Text, name: str, folder: Path) -> None:
    """Write the tokens of each role, and the figures about them."""
    documents = text.read()
    test = chain(*(texts for role, texts in documents.items() if role.partition("/")[0] == "test"))
    tokenizer = build_tokenizer(name, documents["train"])
    dtype = _smallest_dtype(tokenizer.size)
    sizes = {}
    for role, texts in documents.items():
        ids = [tokenizer.encode(document).astype(dtype) for document in texts]
        np.save(_file(folder, role), np.concatenate(ids))
        sizes[role] = sum(len(document) + 1 for document in texts)
    about = {
        "vocabulary": tokenizer.size,
        "size": sizes,
        "gzip": gzip_bits_per_byte(b"\n".join([*test, b""])),
        "symbols": [*map(tokenizer.symbol, range(tokenizer.size))] if name in LEARNED else [],
    }
    (folder / "about.json").write_text(json.dumps(about), encoding="utf-8")


def _smallest_dtype(size: int) -> type[np.unsignedinteger]:
    """Return the smallest type that holds token ids below `size`."""
    if size <= 2**8:
        return np.uint8
    return np.uint16 if size <= 2**16 else np.uint32


def gzip_bits_per_byte(text: bytes) -> float:
    """Return the bits that `gzip -9` needs for a byte of a text."""
    return 8 * len(gzip.compress(text, 9)) / len(text)


@dataclass(frozen=True)
class Tokenizer:
    """A tokenizer.

    Attributes:
        size: size of the vocabulary.
        encode: one document -> token ids.
        symbol: token id -> its text.
    """

    size: int
    encode: Callable[[bytes], NDArray[Any]]
    symbol: Symbol


def build_tokenizer(name: str, train: Sequence[bytes]) -> Tokenizer:
    """Return a tokenizer.

    Args:
        name: "byte"; "character", "word" or "bpe" (vocabulary of the training split); or a folder
            or hub id.
        train: training documents.

    Raises:
        UserError: for a tokenizer that cannot be loaded.
    """
    if name == "byte":
        return Tokenizer(256, lambda document: np.frombuffer(document + b"\n", dtype=np.uint8), chr)
    if name in ("character", "word"):
        return _learned_vocabulary(name, train)
    if name == "bpe":
        return _trained_bpe(train)
    loaded = load_tokenizer(name)
    return Tokenizer(
        len(loaded),
        lambda text: np.array(
            loaded(text.decode(errors="replace") + "\n", add_special_tokens=False)["input_ids"]
        ),
        lambda token: loaded.decode([token]),
    )


def load_tokenizer(name: str) -> Any:
    """Load a Hugging Face tokenizer from a folder or the hub.

    Raises:
        UserError: if it cannot be loaded.
    """
    import transformers

    if not as_path(name).exists():
        offline_if_unreachable(name)
    try:
        return transformers.AutoTokenizer.from_pretrained(name)
    except (OSError, ValueError) as error:
        raise UserError(
            f"task.tokenizer={name}: cannot be loaded ({str(error).splitlines()[0]}); expected "
            f"{', '.join(BUILT_IN)}, or a folder with tokenizer.json; without a network, copy one "
            "and type task.tokenizer=path/to/it"
        ) from None


def _trained_bpe(train: Sequence[bytes]) -> Tokenizer:
    """Train a byte-level BPE tokenizer of `BPE_SIZE` tokens on the training split."""
    from tokenizers import ByteLevelBPETokenizer

    bpe = ByteLevelBPETokenizer()
    texts = (document.decode(errors="replace") for document in train)
    bpe.train_from_iterator(texts, vocab_size=BPE_SIZE, min_frequency=2, show_progress=False)
    return Tokenizer(
        bpe.get_vocab_size(),
        lambda text: np.array(bpe.encode(text.decode(errors="replace") + "\n").ids),
        lambda token: bpe.decode([token]),
    )


def _learned_vocabulary(name: str, train: Sequence[bytes]) -> Tokenizer:
    """Number the characters, or the words and line ends, of the training split by frequency."""

    def cut(document: bytes) -> Sequence[str]:
        text = document.decode(errors="replace") + "\n"  # a cut text may end within a character
        return text if name == "character" else text.replace("\n", " <eos> ").split()

    counts = Counter[str]()
    for document in train:
        counts.update(cut(document))
    counts.setdefault(UNKNOWN, 0)
    ordered = sorted(counts, key=lambda symbol: (-counts[symbol], symbol))
    numbers = {symbol: number for number, symbol in enumerate(ordered)}
    unknown = numbers[UNKNOWN]
    return Tokenizer(
        len(numbers),
        lambda text: np.array([numbers.get(symbol, unknown) for symbol in cut(text)]),
        ordered.__getitem__,
    )
