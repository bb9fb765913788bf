"""Save and load models with MoE layers: weights, and the description that rebuilds the layers.

See `moesuite.surgery.checkpoint_format` for the description, `moesuite.models.recipes` for the
dense model, and docs/saving.md.

save_moe(model, "folder")      safetensors and JSON; Hugging Face models by their `save_pretrained`
save_moe(model, "model.pt")    one torch file, which loads with weights_only=True
model = load_moe("folder")     or "model.pt", or the last.ckpt of a run
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from torch import nn

from moesuite.errors import UserError
from moesuite.models.candidates import Adapter
from moesuite.models.recipes import is_guess, recipe_of, with_arguments
from moesuite.surgery.checkpoint_format import describe
from moesuite.surgery.rebuild import rebuild
from moesuite.surgery.saving.checks import (
    checked_answer,
    compared,
    refuse_adapters,
    telling_what_is_lost,
)
from moesuite.surgery.saving.files import (
    described,
    is_pretrained_folder,
    load_weights,
    read_answer,
    read_json,
    read_saved,
    readable,
    write_answer,
    write_file,
    write_folder,
)
from moesuite.surgery.saving.given import given_arguments, given_path, plain_model, writing
from moesuite.surgery.saving.marker import CONFIG, is_huggingface
from moesuite.surgery.saving.marker import KEY as KEY
from moesuite.surgery.saving.pretrained import load_pretrained_folder
from moesuite.surgery.saving.sentence import (
    MODULES,
    is_sentence_transformer,
    load_sentence_transformer,
    parts_of,
)
from moesuite.surgery.saving.ties import tie
from moesuite.surgery.saving.twin import cast_buffers, dense_model


def contents(model: nn.Module, arguments: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return description and recipe of a model, as plain values."""
    return {**describe(model).plain(), "dense": recipe_of(model, arguments)}


def save_moe(
    model: Any,
    path: str | Path,
    arguments: Mapping[str, Any] | None = None,
    example: Any = None,
    adapter: Adapter | None = None,
    check: bool = True,
) -> None:
    """Write a model, and the description of its MoE layers.

    Before a file is written, the model is built anew from the description, on weights that both
    share, and has to have the same modules and give the same answer to an example: two forwards.
    The answer is saved, and compared by `load_moe`.

    Args:
        model: of timm, Hugging Face, sentence-transformers, or any other with MoE layers of
            `moefy`, `upcycle` or `reroute`; without its wrapper if it has one of `torch.compile`,
            DataParallel or DistributedDataParallel.
        path: a folder, created if missing, for safetensors; or a file ending in .pt, for torch.
        arguments: of `timm.create_model`, where timm has not recorded them.
        example: a tensor, or tensors by the keywords of the model; None: a random text or image.
        adapter: the one that `moefy` was called with.
        check: whether to run the model, and the one that would come back.

    Raises:
        UserError: if another model would come back, for one wrapped by PEFT, or for a path that
            cannot be written; with what to type.
    """
    path, model = given_path(path), plain_model(model)
    given_arguments(arguments)
    with writing(path):
        _save(model, path, arguments, example, adapter, check)


def _save(
    model: Any,
    path: Path,
    arguments: Mapping[str, Any] | None,
    example: Any,
    adapter: Adapter | None,
    check: bool,
) -> None:
    refuse_adapters(model)
    if is_sentence_transformer(model):
        return _save_parts(model, path, check)
    about: dict[str, Any] = {**describe(model).plain(), "dense": None}
    if check or arguments is not None or not is_guess(model):
        checks = check or arguments is not None
        with nullcontext() if checks else telling_what_is_lost():
            about["dense"] = json.loads(json.dumps(recipe_of(model, arguments)))
    answer = checked_answer(model, about, example, adapter) if check else None
    if path.suffix == ".pt":
        return write_file(path, model, about, answer)
    if (path / MODULES).is_file():
        raise UserError(
            f"{path}: this folder holds a model of sentence-transformers; expected another folder"
        )
    if is_huggingface(model):
        model.save_pretrained(path)
    else:
        write_folder(path, model, about)
    if answer is not None:
        write_answer(path, answer)
    return None


def load_moe(
    path: str | Path,
    model: nn.Module | None = None,
    adapter: Adapter | None = None,
    arguments: Mapping[str, Any] | None = None,
    check: bool = True,
) -> nn.Module:
    """Rebuild a saved model with its MoE layers and weights, in evaluation mode.

    Args:
        path: what `save_moe` or `save_pretrained` wrote, or a checkpoint of a run.
        model: a dense model of the same architecture, changed in place, if the file does not say
            how to build it.
        adapter: the one that `moefy` was called with.
        arguments: of `timm.create_model`, instead of those in the file.
        check: whether to compare the answer to the example that `save_moe` wrote: one forward.

    Raises:
        UserError: for a path without a description, one of another format, files that are broken,
            weights that do not fit, or an answer that differs.
    """
    path = given_path(path)
    given_arguments(arguments)
    if (path / MODULES).is_file():
        if model is not None:
            raise UserError(
                f"{path}: a model of sentence-transformers, which says itself how it is built; "
                "expected no model=, e.g. load_moe(path)"
            )
        return load_sentence_transformer(
            path, lambda part, config: _from_pretrained(part, adapter, None, check, config)
        )
    if is_pretrained_folder(path):
        return _from_pretrained(path, adapter, model, check)
    saved = read_saved(path)
    dense = saved.dense if arguments is None else with_arguments(saved.dense, arguments)
    if model is None and dense is None:
        raise UserError(
            f"{path}: how to build the dense model is not known; type load_moe(path, "
            "model=<the model>)"
        )
    if model is None:
        model = dense_model(dense, saved.state)
    rebuild(model, saved.description, adapter)
    tie(model, saved.description.tied)
    load_weights(model, saved.state, path)
    cast_buffers(model, saved.description.buffers)
    model.eval()
    if check:
        with readable(path):
            compared(model, saved.answer, path, saved.attributes)
    return model


def _save_parts(model: Any, folder: Path, check: bool) -> None:
    """Save a model of sentence-transformers, with the answers of the parts that have MoE layers."""
    answers = {}
    for name, part in parts_of(model).items():
        refuse_adapters(part)
        answers[name] = checked_answer(part, contents(part), None, None) if check else None
    model.save_pretrained(str(folder))
    for name, answer in answers.items():
        if answer is not None:
            write_answer(folder / name, answer)


def _from_pretrained(
    folder: Path,
    adapter: Adapter | None,
    like: nn.Module | None,
    check: bool,
    config: Any = None,
) -> nn.Module:
    """Load what `save_pretrained` wrote."""
    description, _ = described(folder, read_json(folder / CONFIG).get(KEY))
    model = load_pretrained_folder(folder, description, adapter, like, config)
    cast_buffers(model, description.buffers)
    return compared(model.eval(), read_answer(folder) if check else None, folder)
