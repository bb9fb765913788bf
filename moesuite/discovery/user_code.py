"""User classes named on the command line: `module.path:Class` or `path/to/file.py:Class`."""

from __future__ import annotations

import importlib.util
import os
import sys
import zlib
from pathlib import Path
from typing import Any

from moesuite.errors import UserError


def own_file(option: str, name: str, example: str) -> tuple[Path, str]:
    """Return the file of a class, and the class.

    Args:
        option: that names it, for messages.
        name: with a colon.
        example: of a name, for messages.

    Raises:
        UserError: for a name that leads to no file.
    """
    module, _, cls = name.rpartition(":")
    relative = module if module.endswith(".py") else module.replace(".", os.sep) + ".py"
    for folder in ["", *sys.path]:
        if (path := Path(folder) / relative).is_file():
            return path.resolve(), cls
    raise UserError(
        f"{option}={name}: no file {relative} in this folder or on PYTHONPATH; allowed:"
        f" module.path:Class or path/to/file.py:Class; type for example {option}={example}"
    )


def own_class(option: str, name: str, example: str) -> Any:
    """Import a class; its file is imported once, under a unique name, so that it can be pickled.

    Raises:
        UserError: for a name that leads to no file, a file that cannot be imported, or no class of
            that name in it.
    """
    path, cls = own_file(option, name, example)
    imported = getattr(_module(path), cls, None)
    if not isinstance(imported, type):
        raise UserError(
            f"{option}={name}: {path.name} has no class {cls}; type for example {option}={example}"
        )
    return imported


def broken(path: Path, error: Exception) -> UserError:
    """Return the error for a file that cannot be read or imported."""
    return UserError(f"{path}: {type(error).__name__}: {error}; HYDRA_FULL_ERROR=1 shows where")


def _module(path: Path) -> Any:
    # files of the same name in two folders are two modules
    name = f"moesuite_plugin_{path.stem}_{zlib.crc32(str(path).encode()):x}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise broken(path, error) from error
    return module
