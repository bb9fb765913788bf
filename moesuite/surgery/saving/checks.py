"""Checks that the model that comes back is the one that was saved: at saving, and at loading."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import nn

from moesuite.errors import UserError
from moesuite.models.candidates import Adapter
from moesuite.surgery.checkpoint_format import Description, without_extras
from moesuite.surgery.saving.answer import (
    EXACT,
    Answer,
    answer_of,
    changed_versions,
    difference,
    output_of,
    tolerance,
)
from moesuite.surgery.saving.twin import attribute_difference, attributes_of, twin_of


def refuse_adapters(model: nn.Module) -> None:
    """Refuse models with adapters: their `save_pretrained` writes the adapters alone."""
    if any(hasattr(module, "peft_config") for module in model.modules()):
        raise UserError(
            f"{type(model).__name__} has adapters of PEFT, whose save_pretrained leaves out the "
            "model; type save_moe(model.merge_and_unload(), path), or save the model by save_moe "
            "before get_peft_model, the adapters by save_pretrained(folder), and load them by "
            "peft.PeftModel.from_pretrained(load_moe(path), folder)"
        )


@contextmanager
def telling_what_is_lost() -> Iterator[None]:
    """Save without a recipe where there is none that can be written, and say what loading needs."""
    try:
        yield
    except UserError as error:
        print(
            f"saved without how to build the model: {str(error).partition(';')[0]}; load it by "
            "load_moe(path, model=<the dense model>)",
            file=sys.stderr,
        )


def checked_answer(
    model: nn.Module, about: dict[str, Any], example: Any, adapter: Adapter | None
) -> Answer | None:
    """Return the answer of a model, after that of the one that would come back; None if unknown.

    Without an answer, the attributes of its modules are written into `about`, for `load_moe`.

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
        about["attributes"] = json.loads(json.dumps(attributes_of(model)))
    recipe = about["dense"]
    if recipe is None:
        print(
            f"how to build a {type(model).__name__} is not known: load it by load_moe(path, "
            "model=<the dense model>)",
            file=sys.stderr,
        )
        return answer
    description = Description.model_validate(without_extras(about))
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
        expected, new = attributes_of(model), attributes_of(twin)
        problem = "" if "hf" in recipe else attribute_difference(expected, new)
        if problem or answer is None or any(x.is_meta for x in twin.buffers()):
            return problem
        share = difference(output_of(twin, answer.inputs), answer.output)
    except UserError as error:
        return str(error)
    limit = tolerance(model, answer) * EXACT
    return "" if share <= limit else f"its answer to the example would be off by {share:.2%}"


def compared(
    model: nn.Module, answer: Answer | None, path: Path, attributes: Any = None
) -> nn.Module:
    """Return a model that answers the example as the saved one did, and has the same attributes.

    Raises:
        UserError: if it differs, by how much.
    """
    if attributes and (problem := attribute_difference(attributes, attributes_of(model))):
        raise UserError(
            f"{path}: another model came back: {problem}; type load_moe(path, model=<the dense "
            "model as it was made>), or check=False to load this one"
        )
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
