"""Small folders of files for tests of sources."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

TRAIN_TEST = {"train": "train", "test": "test"}


def write(folder: Path, files: Mapping[str, str | bytes]) -> Path:
    """Write files by their paths below a folder."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder
