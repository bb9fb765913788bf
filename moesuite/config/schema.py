"""The configuration of a run, typed and with ranges: the one place where a value is judged.

Hydra composes a plain mapping from the YAML of `conf/`, the tasks and the command line; `RunConfig`
checks it. The annotation of each field says what it does (`moesuite.config.roles`): change what
comes out, or only how it is shown.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Annotated, Any, Literal

from pydantic import Field
from pydantic.fields import FieldInfo

from moesuite.config.options import Section
from moesuite.config.roles import TASK, TRAINER, FreeOptions, Role

BalanceScope = Literal["global", "local", "sequence"]  # see moesuite.scope
NAMED = ("timm:", "hf:")  # pretrained models by their library's name


class Optim(Section):
    """AdamW and its schedule. `warmup` is in steps, or, below 1, a share of all steps."""

    lr: Annotated[float, Role.OUTCOME] = Field(1e-3, gt=0, le=10)
    weight_decay: Annotated[float, Role.OUTCOME] = Field(0.05, ge=0, le=10)
    beta1: Annotated[float, Role.OUTCOME] = Field(0.9, ge=0, lt=1)
    beta2: Annotated[float, Role.OUTCOME] = Field(0.999, ge=0, lt=1)
    eps: Annotated[float, Role.OUTCOME] = Field(1e-8, gt=0, le=1)
    schedule: Annotated[Literal["cosine", "rsqrt", "constant"], Role.OUTCOME] = "cosine"
    warmup: Annotated[float, Role.OUTCOME] = Field(0.05, ge=0)
    min_lr: Annotated[float, Role.OUTCOME] = Field(0.0, ge=0)
    clip: Annotated[float, Role.OUTCOME] = Field(1.0, ge=0)


class Data(Section):
    """How data reaches the model. `workers` None: none for data in memory, else one per core; of a stream always one.

    `eval_batch_size` is the most at once; where memory does not hold as many, a run takes fewer.
    """

    batch_size: Annotated[int, Role.OUTCOME] = Field(32, ge=1)
    eval_batch_size: Annotated[int, Role.DETAIL] = Field(256, ge=1)
    workers: Annotated[int | None, Role.PRESENTATION] = Field(None, ge=0)
    seed: Annotated[int, Role.SEED] = Field(0, ge=0)


class Backbone(Section):
    """A name for the record, and a model, `timm:<name>` or `hf:<name>`, with the keyword arguments of its constructor.

    `tokenizer` is the one that a pretrained model of text knows: a folder or hub id.
    """

    name: Annotated[str, Role.OUTCOME]
    model: Annotated[str, Role.OUTCOME]
    pretrained: Annotated[bool, Role.OUTCOME] = False
    tokenizer: Annotated[str, Role.OUTCOME] = "byte"
    seed: Annotated[int, Role.SEED] = Field(0, ge=0)
    kwargs: Annotated[dict[str, Any], Role.OUTCOME] = Field(default_factory=dict)


class RunConfig(Section):
    """Everything that a run depends on; see `python -m moesuite.run --help`."""

    seed: Annotated[int, Role.SEED] = Field(0, ge=0)
    router_seed: Annotated[int, Role.SEED] = Field(0, ge=0)
    num_experts: Annotated[int, Role.CONTESTANT] = Field(8, ge=1, le=65536)
    slots_per_token: Annotated[float | None, Role.CONTESTANT] = Field(None, gt=0)
    eval_slots_per_token: Annotated[float | None, Role.CONTESTANT] = Field(None, gt=0)
    balance_scope: Annotated[BalanceScope, Role.CONTESTANT] = "global"
    allow_noncausal: Annotated[bool, Role.LABEL] = False
    layers: Annotated[str | list[int | str], Role.CONTESTANT] = "last_half"
    renormalise: Annotated[bool | None, Role.CONTESTANT] = None
    decoder: Annotated[dict[str, Any] | None, Role.CONTESTANT] = None
    init: Annotated[str | None, Role.CONTESTANT] = None
    upcycle: Annotated[str | None, Role.CONTESTANT] = None
    upcycle_state: Annotated[
        Literal["resume", "fresh_optimizer", "weights"] | None, Role.CONTESTANT
    ] = None
    tile_depth: Annotated[int, Role.CONTESTANT] = Field(1, ge=1, le=64)
    study: Annotated[str | None, Role.LABEL] = None
    trial: Annotated[int | None, Role.LABEL] = Field(None, ge=0)
    records: Annotated[str, Role.PRESENTATION] = "runs"
    force: Annotated[bool, Role.PRESENTATION] = False
    measure: Annotated[bool, Role.PRESENTATION] = True
    energy: Annotated[bool, Role.PRESENTATION] = False
    task: Annotated[dict[str, Any], FreeOptions(TASK)]
    router: Annotated[dict[str, Any], Role.CONTESTANT]
    backbone: Backbone
    optim: Optim
    data: Data
    trainer: Annotated[dict[str, Any], FreeOptions(TRAINER)]
    logger: Annotated[dict[str, dict[str, Any]], Role.PRESENTATION] = Field(default_factory=dict)

    @property
    def router_options(self) -> dict[str, Any]:
        """The router's own parameters."""
        return {key: value for key, value in self.router.items() if key != "name"}

    def resolved(self) -> RunConfig:
        """Return the same with what was left open filled in, by the recipes for images and for text."""
        images = self.backbone.model.startswith("timm:")
        values: dict[str, Any] = {}
        if self.renormalise is None:
            values["renormalise"] = self.upcycle is not None and images
        if self.upcycles_run and self.upcycle_state is None:
            values["upcycle_state"] = "resume" if images else "fresh_optimizer"
        return self.model_copy(update=values)

    @property
    def upcycles_run(self) -> bool:
        """Whether the run starts from the checkpoint of another, not from a pretrained model by its name."""
        return self.upcycle is not None and not self.upcycle.startswith(NAMED)

    @property
    def goes_on(self) -> bool:
        """Whether the run takes over step and schedule of a dense one, beside its weights."""
        return self.upcycles_run and self.upcycle_state != "weights"


@cache
def _roles() -> dict[str, Role | dict[str, Role]]:
    """Return the role of each option; of each option of a section where these have roles of their own."""
    return {name: _of_field(field) for name, field in RunConfig.model_fields.items()}


def _of_field(field: FieldInfo) -> Role | dict[str, Role]:
    if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
        sections = {name: _of_field(inner) for name, inner in field.annotation.model_fields.items()}
        return {name: role for name, role in sections.items() if isinstance(role, Role)}
    for mark in field.metadata:
        if isinstance(mark, FreeOptions):
            return dict(mark.roles)
        if isinstance(mark, Role):
            return mark
    raise TypeError(f"a field of RunConfig without a role: {field!r}")


def role_of(name: str, option: str = "") -> Role:
    """Return the role of an option of a run, or of an option within a section.

    An option that is not known changes what comes out: records of other versions have such.
    """
    role = _roles().get(name, Role.OUTCOME)
    return role if isinstance(role, Role) else role.get(option, Role.OUTCOME)


def options_of(config: Mapping[str, Any]) -> Iterator[tuple[str, str, Any, Role]]:
    """Yield (name, option, value, role) of all options of a resolved configuration that are set.

    `option` is empty for what is no section. None is not set: an option that is new and None
    changes no id.
    """
    for name, value in config.items():
        sections = value if isinstance(value, dict) else {"": value}
        for option, inner in sections.items():
            if inner is not None:
                yield name, option, inner, role_of(name, option)
