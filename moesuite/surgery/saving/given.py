"""What `save_moe` and `load_moe` are given: models in wrappers, and paths."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import safetensors
from torch import nn
from torch.nn.parallel import DataParallel, DistributedDataParallel

from moesuite.config.options import as_path
from moesuite.errors import UserError


def plain_model(model: Any) -> Any:
    """Return a model without the wrappers of `torch.compile` and of data parallelism.

    Raises:
        UserError: for what is no model.
    """
    if not isinstance(model, nn.Module):
        raise UserError(
            f"a {type(model).__name__} cannot be saved; expected a model, a torch.nn.Module, e.g. "
            "save_moe(model, path)"
        )
    while True:
        if isinstance(model, DataParallel | DistributedDataParallel):
            model = model.module
        elif isinstance(compiled := getattr(model, "_orig_mod", None), nn.Module):
            model = compiled
        else:
            return model


def given_path(path: Any) -> Path:
    """Return a path.

    Raises:
        UserError: for what is none.
    """
    if not isinstance(path, str | os.PathLike):
        raise UserError(f"path={path!r}: expected a folder or a file, e.g. runs/model")
    return as_path(Path(path))


def given_arguments(arguments: Any) -> None:
    """Refuse arguments of `timm.create_model` that are not by name.

    Raises:
        UserError: with what is expected.
    """
    if arguments is not None and not isinstance(arguments, Mapping):
        raise UserError(
            f"arguments={arguments!r}: expected those of timm.create_model by name, e.g. "
            "arguments={'depth': 3}"
        )


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what the system says of a place that cannot be written into one line.

    Raises:
        UserError: also before, for a file in place of a folder or a folder in place of a file.
    """
    expected = "expected a folder that can be written, or a file ending in .pt, e.g. runs/model.pt"
    if path.is_file() if path.suffix != ".pt" else path.is_dir():
        raise UserError(f"{path}: a {'folder' if path.is_dir() else 'file'} already; {expected}")
    try:
        yield
    except (OSError, safetensors.SafetensorError) as error:
        problem = getattr(error, "strerror", None) or error
        raise UserError(f"{path}: cannot be written ({problem}); {expected}") from None
