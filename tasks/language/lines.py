"""Lines of a text by their hashes, to find those of the test split that also stand in train.

Sequences are no unit for that: where they begin follows from the length. Short lines, such as
`return self`, repeat by chance; of a table of short texts each is compared.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np

from moesuite.task import cache_folder, cached
from moesuite.tasks.text.corpus import Text

SHORTEST = 50  # characters, spaces at its ends aside
HASH = 8  # bytes


def unit_of(text: Text) -> str:
    """Return what is compared: long lines, or all, where half of several documents are short."""
    least = int(np.load(_folder(text) / "least.npy"))
    return f"lines of {least} or more characters"


def line_hashes(text: Text, role: str) -> Iterator[bytes]:
    """Yield the hash of each line of a role; the text is read only if they are not cached.

    Args:
        text: whole.
        role: of its documents; none are yielded if it has none.
    """
    if not (file := _folder(text) / f"{role}.npy").exists():
        return
    for value in np.load(file, mmap_mode="r"):
        yield value.tobytes()


def _folder(text: Text) -> Path:
    key = f"{text.fingerprint}\n{text.how}\n{SHORTEST} least"
    name = hashlib.sha256(key.encode()).hexdigest()[:32]
    return cached(cache_folder() / "lines" / name, partial(_write, text))


def _write(text: Text, folder: Path) -> None:
    roles: dict[str, list[bytes]] = {}
    for key, documents in text.read().items():  # of a role, or of a role and a domain
        roles.setdefault(key.partition("/")[0], []).extend(documents)
    sizes = [len(document) for document in roles["train"] if document.strip()]
    least = 1 if len(sizes) > 1 and np.median(sizes) < SHORTEST else SHORTEST
    np.save(folder / "least.npy", least)
    for role, documents in roles.items():
        lines = chain.from_iterable(document.split(b"\n") for document in documents)
        digests = b"".join(
            hashlib.blake2b(line, digest_size=HASH).digest()
            for line in map(bytes.strip, lines)
            if len(line.decode(errors="replace")) >= least
        )
        np.save(folder / f"{role}.npy", np.frombuffer(digests, dtype=np.uint64))
