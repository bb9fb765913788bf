"""The options of a run: type, range, default, meaning and role of each, on its field.

Hydra composes a plain mapping from the YAML of `conf/`, the tasks and the command line; `RunConfig`
checks it. Options of a router, a task or Lightning's Trainer are declared by their signatures
(`moesuite.discovery.signature`). The role of an option (`moesuite.config.roles`) says whether it
changes the results, or only how they are shown.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic.fields import FieldInfo

from moesuite.config.options import Section
from moesuite.config.roles import TASK, TRAINER, FreeOptions, Role
from moesuite.config.sections import MOST_EXPERTS, Backbone, Data, NullKind, Optim, as_null_experts

BalanceScope = Literal["global", "local", "sequence"]  # see moesuite.routing.scope
GateKind = Literal["linear", "mlp", "cosine", "attention"]  # see moesuite.routing.layer
NAMED = ("timm:", "hf:")  # pretrained models by their library's name
# 0 and false say what leaving an option out says, and a run's id follows from what is said
UNSET = AfterValidator(lambda value: value or None)
SLOTS = "expert work per token relative to the dense MLP"


class RunConfig(Section):
    """Everything that a run depends on; see `python -m moesuite.run --help`."""

    seed: Annotated[int, Role.SEED] = Field(
        0, ge=0, description="of everything: data order, backbone, router and training follow it"
    )
    router_seed: Annotated[int, Role.SEED] = Field(
        0, ge=0, description="seed of the router's initialisation alone"
    )
    num_experts: Annotated[int, Role.CONTESTANT] = Field(
        8, ge=1, le=MOST_EXPERTS, description="experts of an MoE layer"
    )
    slots_per_token: Annotated[float | None, Role.CONTESTANT] = Field(
        None,
        gt=0,
        description=f"{SLOTS}; null: 1, or what an MoE backbone has",
        examples=[1.0],
    )
    eval_slots_per_token: Annotated[float | None, Role.CONTESTANT] = Field(
        None,
        gt=0,
        description="the same in evaluation; null: as in training, no limit for routers that drop",
        examples=[2.0],
    )
    balance_scope: Annotated[BalanceScope, Role.CONTESTANT] = Field(
        "global",
        description="tokens of balance losses and running statistics: of all processes,"
        " of each process, or of each sequence",
    )
    shared_experts: Annotated[int | None, Role.CONTESTANT, UNSET] = Field(
        None,
        ge=0,
        le=1024,
        description="experts that serve every token beside the routed ones: their work comes on top"
        " of slots_per_token",
        examples=[1],
    )
    dense_gradient: Annotated[bool | None, Role.CONTESTANT, UNSET] = Field(
        None,
        description="let running means stand in for the outputs of the experts that a token lacks:"
        " its gates of all experts are trained",
        examples=[True],
    )
    gate: Annotated[GateKind | None, Role.CONTESTANT] = Field(
        None,
        description="how routers compute their logits; null: linear, or what a router has",
        examples=["mlp"],
    )
    null_experts: Annotated[
        int | dict[NullKind, int] | None,
        Role.CONTESTANT,
        BeforeValidator(as_null_experts),
    ] = Field(
        None,
        description="experts without an MLP beside the num_experts, among which a router chooses:"
        " a number of zero experts, or {zero:1,copy:1,constant:2}",
        examples=[4, {"zero": 1, "copy": 1, "constant": 2}],
    )
    allow_noncausal: Annotated[bool, Role.LABEL] = Field(
        False, description="let a router that looks ahead run on a causal task; the record says so"
    )
    layers: Annotated[str | list[int | str], Role.CONTESTANT] = Field(
        "last_half",
        description="MLPs that become MoE layers: last_half, every_other, last_two, all,"
        " or a list of indices or module names",
        examples=["last_half", [-1]],
    )
    renormalise: Annotated[bool | None, Role.CONTESTANT] = Field(
        None,
        description="divide the combine weights of each token by their sum;"
        " null: in upcycled image models",
        examples=[True],
    )
    decoder: Annotated[dict[str, Any] | None, Role.CONTESTANT] = Field(
        None,
        description="another router for a decoder beside an encoder",
        examples=[{"name": "token_choice", "k": 2}],
    )
    init: Annotated[str | None, Role.CONTESTANT] = Field(
        None,
        description="last.ckpt of a run whose weights are the start; positions are interpolated",
        examples=["runs/digits/soft/0123456789ab/last.ckpt"],
    )
    upcycle: Annotated[str | None, Role.CONTESTANT] = Field(
        None,
        description="last.ckpt of a dense run to start from with its step and schedule, or a"
        " pretrained model: timm:<name>, hf:<name>",
        examples=["timm:vit_tiny_patch16_224"],
    )
    upcycle_state: Annotated[
        Literal["resume", "fresh_optimizer", "weights"] | None, Role.CONTESTANT
    ] = Field(
        None,
        description="what is taken from upcycle=<last.ckpt>: all, all but the optimizer's state, or"
        " only weights (step 0); null: resume for images, else fresh_optimizer",
        examples=["weights"],
    )
    tile_depth: Annotated[int, Role.CONTESTANT] = Field(
        1, ge=1, le=64, description="repeat the blocks of the upcycled dense model: a control"
    )
    study: Annotated[str | None, Role.LABEL] = Field(
        None,
        description="name of the study that tuned the options, or searches them",
        examples=["digits_soft_capacity"],
    )
    trial: Annotated[int | None, Role.LABEL] = Field(
        None, ge=0, description="number of the trial in its study; null: of no search", examples=[0]
    )
    records: Annotated[str, Role.PRESENTATION] = Field(
        "runs", min_length=1, description="folder of run records"
    )
    force: Annotated[bool, Role.PRESENTATION] = Field(
        False, description="run again although the same run is recorded"
    )
    measure: Annotated[bool, Role.PRESENTATION] = Field(
        True, description="measure latency and step time against the matched dense model"
    )
    energy: Annotated[bool, Role.PRESENTATION] = Field(
        False, description='estimate the energy of training; needs the extra "energy"'
    )
    predictions: Annotated[bool, Role.PRESENTATION] = Field(
        False, description="write the prediction of each test example to a parquet file"
    )
    task: Annotated[dict[str, Any], FreeOptions(TASK)] = Field(
        description="name and options of the task"
    )
    router: Annotated[dict[str, Any], Role.CONTESTANT] = Field(
        description="name and options of the router"
    )
    backbone: Backbone
    optim: Optim
    data: Data
    trainer: Annotated[dict[str, Any], FreeOptions(TRAINER)] = Field(
        description="options of Lightning's Trainer"
    )
    logger: Annotated[dict[str, dict[str, Any]], Role.PRESENTATION] = Field(
        default_factory=dict,
        description="loggers, each with the arguments of Lightning's class of that name",
        examples=[{"csv": {}}],
    )

    @property
    def router_options(self) -> dict[str, Any]:
        """The router's own parameters."""
        return {key: value for key, value in self.router.items() if key != "name"}

    def resolved(self) -> RunConfig:
        """Return a copy with open values resolved by the recipes for images and for text."""
        images = self.backbone.model.startswith("timm:")
        values: dict[str, Any] = {}
        if self.renormalise is None:
            by_recipe = self.upcycle is not None and images
            values["renormalise"] = by_recipe and not self.dense_gradient
        if self.upcycles_run and self.upcycle_state is None:
            values["upcycle_state"] = "resume" if images else "fresh_optimizer"
        return self.model_copy(update=values)

    @property
    def upcycles_run(self) -> bool:
        """Whether the run starts from another run's checkpoint, not from a pretrained model."""
        return self.upcycle is not None and not self.upcycle.startswith(NAMED)

    @property
    def goes_on(self) -> bool:
        """Whether the run takes over step and schedule of a dense one, beside its weights."""
        return self.upcycles_run and self.upcycle_state != "weights"


@cache
def _roles() -> dict[str, Role | dict[str, Role]]:
    """Return the role of each option; of each option of a section whose options have roles."""
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
