"""Sections of the options of a run; see `moesuite.config.schema`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from moesuite.config.options import Section
from moesuite.config.roles import Role

MOST_PROCESSES = 1024  # that one option may start


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
