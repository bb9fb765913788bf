"""The configuration of a run, typed and with ranges: the one place where a value is judged.

Hydra composes a plain mapping from the YAML of `conf/`, the tasks and the command line; `RunConfig` checks it.
"""

from __future__ import annotations

from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from moesuite.errors import UserError, nearest

Model = TypeVar("Model", bound=BaseModel)
NAMED = ("timm:", "hf:")  # pretrained models by their library's name


class Section(BaseModel):
    """Base of all sections: a mistyped option is an error, never ignored."""

    model_config = ConfigDict(extra="forbid")


class Optim(Section):
    """AdamW and its schedule. `warmup` is in steps, or, below 1, a share of all steps."""

    lr: float = Field(1e-3, gt=0, le=10)
    weight_decay: float = Field(0.05, ge=0, le=10)
    beta1: float = Field(0.9, ge=0, lt=1)
    beta2: float = Field(0.999, ge=0, lt=1)
    eps: float = Field(1e-8, gt=0, le=1)
    schedule: Literal["cosine", "rsqrt", "constant"] = "cosine"
    warmup: float = Field(0.05, ge=0)
    min_lr: float = Field(0.0, ge=0)
    clip: float = Field(1.0, ge=0)


class Data(Section):
    """How data reaches the model. `workers` None: none for data in memory, else one per core.

    `eval_batch_size` is the most at once; where memory does not hold as many, a run takes fewer.
    """

    batch_size: int = Field(32, ge=1)
    eval_batch_size: int = Field(256, ge=1)
    workers: int | None = Field(None, ge=0)
    seed: int = Field(0, ge=0)


class Backbone(Section):
    """A name for the record, and a model, `timm:<name>` or `hf:<name>`, with the keyword arguments of its constructor.

    `tokenizer` is the one that a pretrained model of text knows: a folder or hub id.
    """

    name: str
    model: str
    pretrained: bool = False
    tokenizer: str = "byte"
    seed: int = Field(0, ge=0)
    kwargs: dict[str, Any] = Field(default_factory=dict)


class RunConfig(Section):
    """Everything that a run depends on; see `python -m moesuite.run --help`."""

    seed: int = Field(0, ge=0)
    router_seed: int = Field(0, ge=0)
    num_experts: int = Field(8, ge=1, le=65536)
    slots_per_token: float | None = Field(None, gt=0)
    eval_slots_per_token: float | None = Field(None, gt=0)
    allow_noncausal: bool = False
    layers: str | list[int | str] = "last_half"
    renormalise: bool | None = None
    decoder: dict[str, Any] | None = None
    init: str | None = None
    upcycle: str | None = None
    upcycle_state: Literal["resume", "fresh_optimizer", "weights"] | None = None
    tile_depth: int = Field(1, ge=1, le=64)
    study: str | None = None
    trial: int | None = Field(None, ge=0)
    records: str = "runs"
    force: bool = False
    measure: bool = True
    energy: bool = False
    task: dict[str, Any]
    router: dict[str, Any]
    backbone: Backbone
    optim: Optim
    data: Data
    trainer: dict[str, Any]
    logger: dict[str, dict[str, Any]] = Field(default_factory=dict)

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


def checked(model: type[Model], values: dict[str, Any], prefix: str = "") -> Model:
    """Validate `values`.

    Raises:
        UserError: one line for the first value that is wrong: given, allowed, and an example.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        path = ".".join(str(part) for part in ([prefix] if prefix else []) + list(first["loc"]))
        if first["type"] == "extra_forbidden":
            options = list(model.model_fields)
            raise UserError(
                f"unknown option {path}; nearest: {', '.join(nearest(str(first['loc'][-1]), options))}"
                if options
                else f"unknown option {path}: {prefix} has no options of its own"
            ) from None
        field = model.model_fields.get(str(first["loc"][0])) if len(first["loc"]) == 1 else None
        example = "" if field is None or field.is_required() else f"; type for example {path}={field.default}"
        raise UserError(f"{path}={first['input']!r}: {first['msg'].lower()}{example}") from None
