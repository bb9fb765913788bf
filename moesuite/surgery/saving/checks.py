"""Checks that the model that comes back is the one that was saved: at saving, and at loading."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from moesuite.errors import UserError
from moesuite.models.candidates import Adapter
from moesuite.surgery.checkpoint_format import Description
from moesuite.surgery.saving.answer import (
    EXACT,
    Answer,
    answer_of,
    changed_versions,
    difference,
    output_of,
    tolerance,
)
from moesuite.surgery.saving.twin import structural_difference, twin_of


def refuse_adapters(model: nn.Module) -> None:
    """Refuse models with adapters: their `save_pretrained` writes the adapters alone."""
    if any(hasattr(module, "peft_config") for module in model.modules()):
        raise UserError(
            f"{type(model).__name__} has adapters of PEFT, whose save_pretrained leaves out the "
            "model; type save_moe(model.merge_and_unload(), path), or save the model by save_moe "
            "before get_peft_model, the adapters by save_pretrained(folder), and load them by "
            "peft.PeftModel.from_pretrained(load_moe(path), folder)"
        )


def checked_answer(
    model: nn.Module, about: Mapping[str, Any], example: Any, adapter: Adapter | None
) -> Answer | None:
    """Return the answer of a model, after that of the one that would come back; None if unknown.

    Raises:
        UserError: if the model that would come back is another.
    """
    try:
        answer = answer_of(model, example)
    except UserError as error:
        if example is not None:
            raise
        answer = None
        print(f"saved without an answer to compare ({error})", file=sys.stderr)
    recipe = about["dense"]
    if recipe is None:
        print(
            f"how to build a {type(model).__name__} is not known: load it by load_moe(path, "
            "model=<the dense model>)",
            file=sys.stderr,
        )
        return answer
    description = Description.model_validate({k: v for k, v in about.items() if k != "dense"})
    problem = _problem(model, recipe, description, adapter, answer)
    if problem:
        cure = "arguments={…} of timm.create_model, or " if "timm" in recipe else ""
        raise UserError(
            f"{type(model).__name__} would come back as another model: {problem}; type save_moe("
            f"model, path, {cure}check=False) and later load_moe(path, model=<the dense model>)"
        )
    return answer


def _problem(
    model: nn.Module,
    recipe: dict[str, Any],
    description: Description,
    adapter: Adapter | None,
    answer: Answer | None,
) -> str:
    """Return in words how the model that would come back differs; empty if it does not."""
    try:
        twin = twin_of(model, recipe, description, adapter)
        # the attributes of a Hugging Face model follow its configuration
        problem = "" if "hf" in recipe else structural_difference(model, twin)
        if problem or answer is None or any(x.is_meta for x in twin.buffers()):
            return problem
        share = difference(output_of(twin, answer.inputs), answer.output)
    except UserError as error:
        return str(error)
    limit = tolerance(model, answer) * EXACT
    return "" if share <= limit else f"its answer to the example would be off by {share:.2%}"


def compared(model: nn.Module, answer: Answer | None, path: Path) -> nn.Module:
    """Return a model that answers the example as the saved one did.

    Raises:
        UserError: if it differs, by how much.
    """
    if answer is None:
        return model
    share = difference(output_of(model, answer.inputs), answer.output)
    if not share <= (limit := tolerance(model, answer)):
        raise UserError(
            f"{path}: another model came back: its answer to the saved example is off by "
            f"{share:.2%}, expected at most {limit:.2%}{changed_versions(answer)}; type load_moe("
            "path, model=<the dense model as it was made>), or check=False to load this one"
        )
    return model
