"""The mark on saved Hugging Face models: transformers by itself refuses to load them.

`save_pretrained` writes the class of the dense model, which `from_pretrained` would build and whose
MLPs it would fill with random weights. The mark is the name of the file of weights in config.json,
`transformers_weights`, which every `from_pretrained` reads. No file has this name: all classes
refuse, automatic and concrete ones, with or without this package, in one line that names
`moesuite.load_moe`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from moesuite.errors import UserError
from moesuite.nn.moe import moe_layers
from moesuite.records.store import write_text
from moesuite.surgery.checkpoint_format import describe

KEY = "moesuite"  # of the description, in torch files and in config.json
WEIGHTS = "transformers_weights"
ANSWER = "moesuite_answer.safetensors"  # of `moesuite.surgery.saving.answer`, in a folder
BESIDE = "moesuite.json"  # in the folder of a model that is not of Hugging Face
CONFIG, SINGLE = "config.json", "model.safetensors"  # of transformers
INDEX, SHARDS = "model.safetensors.index.json", "model-*-of-*.safetensors"
MARK = "only moesuite.load_moe(folder) loads this mixture of experts.safetensors"


def mark(model: nn.Module) -> None:
    """Make `save_pretrained` of a Hugging Face model describe its MoE layers, and mark the folder.

    So do its parts, `model.bert` for one. `push_to_hub` and transformers' Trainer save by it too.
    Other models are left alone.
    """
    for host in model.modules():
        if is_huggingface(host) and any(moe_layers(host)):
            # of this module alone, and of its copies
            host.save_pretrained = partial(_save_pretrained, host)  # type: ignore[assignment]


def is_huggingface(model: Any) -> bool:
    """Return whether a module is a model of transformers."""
    config = getattr(model, "config", None)
    return hasattr(model, "save_pretrained") and hasattr(config, "to_json_string")


@contextmanager
def _described(model: Any) -> Iterator[None]:
    """Describe the layers of a model in its configuration, which others may share, while saving."""
    model.config.moesuite = describe(model).plain()
    try:
        yield
    finally:
        del model.config.moesuite


def _save_pretrained(
    model: Any, save_directory: Any, *arguments: Any, push_to_hub: bool = False, **options: Any
) -> None:
    """Do what `save_pretrained` of transformers does, and mark the folder before it is uploaded.

    Raises:
        UserError: for a variant, whose weights have another name than `load_moe` reads.
    """
    if variant := options.get("variant"):
        raise UserError(
            f"variant={variant}: a folder holds one mixture of experts; save it to a folder of its "
            "own, without variant="
        )
    of_upload = ("repo_id", "commit_message", "create_pr", "private")
    upload = {key: options.pop(key) for key in of_upload if push_to_hub and key in options}
    with _described(model):
        type(model).save_pretrained(model, save_directory, *arguments, **options)
    folder = Path(save_directory)
    for name in (ANSWER, BESIDE):  # of other weights
        (folder / name).unlink(missing_ok=True)
    remove_earlier_weights(folder)
    file = folder / CONFIG
    if file.is_file():  # only the main process of several writes it
        values = json.loads(file.read_text(encoding="utf-8"))
        write_text(file, json.dumps({**values, WEIGHTS: MARK}, indent=2, sort_keys=True) + "\n")
    if push_to_hub:
        model.push_to_hub(**{"repo_id": file.parent.name, "token": options.get("token")} | upload)


def remove_earlier_weights(folder: Path) -> None:
    """Remove the single file that shards replaced, or the index of shards that a file replaced.

    Either would be read. transformers removes earlier shards by itself, and no more.
    """
    index = folder / INDEX
    if index.is_file() and (folder / SINGLE).is_file():
        try:
            listed = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
            sharded = all((folder / shard).is_file() for shard in set(listed))
        except (ValueError, KeyError):  # of a save that was killed
            sharded = False
        (folder / SINGLE if sharded else index).unlink(missing_ok=True)
