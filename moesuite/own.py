"""Classes of a user's own, named on the command line: `module.path:Class`, or `path/to/file.py:Class`."""

from __future__ import annotations

import importlib.util
import os
import sys
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
        f"{option}={name}: no file {relative} in this folder or on PYTHONPATH; allowed: module.path:Class or "
        f"path/to/file.py:Class; type for example {option}={example}"
    )


def own_class(option: str, name: str, example: str) -> Any:
    """Import a class; its file is imported once, under a name of its own, so that it can be pickled.

    Raises:
        UserError: for a name that leads to no file, or no class of that name in it.
    """
    path, cls = own_file(option, name, example)
    found = getattr(_module(path), cls, None)
    if not isinstance(found, type):
        raise UserError(f"{option}={name}: {path.name} has no class {cls}; type for example {option}={example}")
    return found


def _module(path: Path) -> Any:
    name = f"moesuite_plugin_{path.stem}"
    module = sys.modules.get(name)
    if module is not None and module.__file__ == str(path):
        return module
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
