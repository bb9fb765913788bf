"""Sections of the options of a run; see `moesuite.config.schema`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import Field
from pydantic_core import PydanticCustomError

from moesuite.config.options import Section, word
from moesuite.config.roles import Role
from moesuite.errors import UserError

NullKind = Literal["zero", "copy", "constant"]  # see moesuite.nn.beside.null_experts
NULL_EXPERTS = "expected a number of zero experts, or numbers of zero, copy, constant ones"
MOST_EXPERTS = 65536
MOST_PROCESSES = 1024  # that one option may start


def null_counts(counts: Any) -> dict[NullKind, int]:
    """Return the number of null experts by kind, without kinds of none.

    Args:
        counts: a number of zero experts, or numbers by kind; None: none.

    Raises:
        UserError: for anything else.
    """
    by_kind = dict(counts) if isinstance(counts, Mapping) else {"zero": counts or 0}
    kinds = get_args(NullKind)
    unknown = by_kind.keys() - set(kinds)
    if unknown or not all(type(n) is int and 0 <= n <= MOST_EXPERTS for n in by_kind.values()):
        raise UserError(f"null_experts={word(counts)}: {NULL_EXPERTS}, e.g. null_experts=4")
    return {kind: by_kind[kind] for kind in kinds if by_kind.get(kind)}


def as_null_experts(value: Any) -> dict[NullKind, int] | None:
    """Return the option `null_experts` by kind; None, which changes no id, without any."""
    try:
        return null_counts(value) or None
    except UserError:
        raise PydanticCustomError("null_experts", NULL_EXPERTS) from None


class Optim(Section):
    """AdamW and its schedule; a task's recipe may set the learning rate and the weight decay."""

    lr: Annotated[float, Role.OUTCOME] = Field(
        1e-3, gt=0, le=10, description="peak learning rate; default: the task's recipe"
    )
    weight_decay: Annotated[float, Role.OUTCOME] = Field(
        0.05, ge=0, le=10, description="decoupled weight decay; default: the task's recipe"
    )
    beta1: Annotated[float, Role.OUTCOME] = Field(
        0.9, ge=0, lt=1, description="decay of the running mean of gradients"
    )
    beta2: Annotated[float, Role.OUTCOME] = Field(
        0.999, ge=0, lt=1, description="decay of the running mean of squared gradients"
    )
    eps: Annotated[float, Role.OUTCOME] = Field(
        1e-8, gt=0, le=1, description="added to the denominator of an update"
    )
    schedule: Annotated[Literal["cosine", "rsqrt", "constant"], Role.OUTCOME] = Field(
        "cosine", description="learning rate after the warm-up"
    )
    warmup: Annotated[float, Role.OUTCOME] = Field(
        0.05, ge=0, description="linear warm-up in steps, or below 1 as a share of all steps"
    )
    min_lr: Annotated[float, Role.OUTCOME] = Field(
        0.0, ge=0, description="learning rate at the end of the schedule"
    )
    clip: Annotated[float, Role.OUTCOME] = Field(
        1.0, ge=0, description="largest gradient norm; 0: no clipping"
    )


class Data(Section):
    """How data reaches the model."""

    batch_size: Annotated[int, Role.OUTCOME] = Field(
        32, ge=1, description="training examples in a batch; default: the task's recipe"
    )
    eval_batch_size: Annotated[int, Role.DETAIL] = Field(
        256,
        ge=1,
        description="largest batch in evaluation, smaller where memory does not hold it;"
        " default: the task's recipe",
    )
    workers: Annotated[int | None, Role.PRESENTATION] = Field(
        None,
        ge=0,
        le=MOST_PROCESSES,
        description="loader processes; null: none for data in memory, else one per core;"
        " always one for a stream",
        examples=[2],
    )
    seed: Annotated[int, Role.SEED] = Field(
        0, ge=0, description="seed of the order and the augmentation of the data alone"
    )


class Backbone(Section):
    """The dense model whose MLPs become MoE layers."""

    name: Annotated[str, Role.OUTCOME] = Field(
        description="its name in the record", examples=["vit_mini"]
    )
    model: Annotated[str, Role.OUTCOME] = Field(
        description="timm:<name>, hf:<type, hub id or folder>, mlp:<activation>, or"
        " token_mlp:<activation>",
        examples=["timm:vit_tiny_patch16_224"],
    )
    pretrained: Annotated[bool, Role.OUTCOME] = Field(
        False, description="start from the published weights of the model"
    )
    tokenizer: Annotated[str, Role.OUTCOME] = Field(
        "byte", description="tokenizer of a pretrained text model: a folder or hub id"
    )
    seed: Annotated[int, Role.SEED] = Field(
        0, ge=0, description="seed of the initialisation of the dense model"
    )
    kwargs: Annotated[dict[str, Any], Role.OUTCOME] = Field(
        default_factory=dict, description="keyword arguments of the model's constructor"
    )
