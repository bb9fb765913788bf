"""Lines of a text by their hashes, to find those of the test split that also stand in train.

Sequences are no unit for that: where they begin follows from the length. Short lines, such as
`return self`, repeat by chance.
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


def line_hashes(text: Text, role: str) -> Iterator[bytes]:
    """Yield the hash of each line of a role; the text is read only if they are not cached.

    Args:
        text: whole.
        role: of its documents; none are yielded if it has none.
    """
    key = f"{text.fingerprint}\n{text.how}\n{SHORTEST}"
    name = hashlib.sha256(key.encode()).hexdigest()[:32]
    folder = cached(cache_folder() / "lines" / name, partial(_write, text))
    if not (file := folder / f"{role}.npy").exists():
        return
    for value in np.load(file, mmap_mode="r"):
        yield value.tobytes()


def _write(text: Text, folder: Path) -> None:
    roles: dict[str, list[bytes]] = {}
    for key, documents in text.read().items():  # of a role, or of a role and a domain
        roles.setdefault(key.partition("/")[0], []).extend(documents)
    for role, documents in roles.items():
        lines = chain.from_iterable(document.split(b"\n") for document in documents)
        digests = b"".join(
            hashlib.blake2b(line, digest_size=HASH).digest()
            for line in map(bytes.strip, lines)
            if len(line.decode(errors="replace")) >= SHORTEST
        )
        np.save(folder / f"{role}.npy", np.frombuffer(digests, dtype=np.uint64))
