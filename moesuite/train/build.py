"""Task and models of a run, built from its configuration."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import chain
from typing import Any

import torch
from torch import nn

from moesuite.certify.lookahead import refuse_lookahead
from moesuite.config.options import checked_options
from moesuite.config.schema import RunConfig
from moesuite.discovery.names import router_defaults
from moesuite.errors import UserError
from moesuite.models.backbones import build_backbone
from moesuite.models.depth_tiling import tile_depth
from moesuite.models.moe_blocks.blocks import moe_modules
from moesuite.models.moe_blocks.original import OWN
from moesuite.nn.moe import moe_layers
from moesuite.records.record import UpcycledLayer
from moesuite.surgery.moe_config import MoEConfig
from moesuite.surgery.moefy import replace_mlps
from moesuite.surgery.reroute import replace_routers
from moesuite.surgery.upcycle import upcycle_mlps
from moesuite.surgery.weights import start_from
from moesuite.task import Task, task_class
from moesuite.train.upcycled_start import take_weights


def declare_task(options: dict[str, Any]) -> Task:
    """Build a task from its resolved options, without its data."""
    cls = task_class(options["family"])
    chosen = {key: value for key, value in options.items() if key not in ("family", "recipe")}
    return cls.from_options(**checked_options(cls.__init__, chosen, "task"))


def build_task(options: dict[str, Any]) -> Task:
    """Build a task from its resolved options and load its data."""
    task = declare_task(options)
    task.prepare()
    return task


def shared_task(options: dict[str, Any]) -> Task:
    """Return a loaded task, shared by runs with the same options: a sweep loads its data once."""
    return _shared(json.dumps(options, sort_keys=True))


@lru_cache(maxsize=1)
def _shared(options: str) -> Task:
    return build_task(json.loads(options))


@dataclass(frozen=True)
class Built:
    """The models of a run.

    Attributes:
        model: with its MoE layers.
        dense: the matched dense model with the same initial weights; for a rerouted model, the one
            with its original rule.
        surgery: makes `model` from `dense`; for a rerouted model, does nothing.
        receipt: what upcycling changed in each layer.
        verdict: whether the upcycled model starts like the dense one, in words.
    """

    model: nn.Module
    dense: nn.Module
    surgery: Callable[[nn.Module], nn.Module] = lambda model: model
    receipt: list[UpcycledLayer] = field(default_factory=list)
    verdict: str = ""

    @property
    def causal(self) -> bool | None:
        """Whether all routers, with their options, claim to be causal; None without MoE layers."""
        claims = [layer.router.causal for _, layer in moe_layers(self.model)]
        return all(claims) if claims else None


def build_models(config: RunConfig, task: Task, example: Any) -> Built:
    """Build the model with MoE layers, and the matched dense model with the same initial weights.

    Args:
        config: of the run.
        task: declares head and inputs of the backbone.
        example: inputs of the model.

    Raises:
        UserError: for a router that looks ahead on a causal task, or `init` or `upcycle` weights
            that do not fit.
    """
    accounting_only = torch.get_default_device().type == "meta"
    if not accounting_only:
        _check_initial_weights(config)
    backbone = config.backbone
    dense = build_backbone(
        backbone.model,
        backbone.pretrained,
        backbone.seed,
        task.backbone_arguments(),
        backbone.kwargs,
    )
    if config.upcycles_run and not accounting_only:
        _upcycle_weights(config, dense)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.router_seed)
        is_moe = bool(moe_modules(dense))
        built = _rerouted(config, dense) if is_moe else _with_moe_layers(config, dense, example)
    if config.init is not None:
        start_from(built.model, config.init)
    if not config.allow_noncausal:
        _refuse_lookahead(built.model, task)
    return built


def _refuse_lookahead(model: nn.Module, task: Task) -> None:
    """Refuse routers that are not causal where the task predicts later tokens."""
    layers = [layer for _, layer in moe_layers(model)]
    if task.causal:
        refuse_lookahead(layers, "this task", _length(task.blank(), decoder=False))
    elif task.causal_decoder:
        layers = [layer for layer in layers if layer.in_decoder]
        length = _length(task.blank(), decoder=True)
        refuse_lookahead(layers, "in the decoder, this task", length)


def _check_initial_weights(config: RunConfig) -> None:
    if config.tile_depth > 1 and config.upcycle is None:
        raise UserError(
            f"tile_depth={config.tile_depth} repeats trained blocks; add upcycle=<checkpoint>"
        )
    if config.init is not None and config.upcycle is not None:
        raise UserError(
            f"init={config.init} and upcycle={config.upcycle} both name weights; leave one out"
        )
    if config.upcycle_state is not None and not config.upcycles_run:
        raise UserError(
            f"upcycle_state={config.upcycle_state}: only the checkpoint of a run can be continued; "
            "add upcycle=<last.ckpt>, or leave it out"
        )
    named = config.upcycle is not None and not config.upcycles_run
    if named and not (config.backbone.model == config.upcycle and config.backbone.pretrained):
        raise UserError(
            f"upcycle={config.upcycle}: the backbone is {config.backbone.model}; add "
            f"backbone={config.upcycle} backbone.pretrained=true"
        )


def _upcycle_weights(config: RunConfig, dense: nn.Module) -> None:
    """Load the weights of the dense run that is upcycled."""
    assert config.upcycle is not None
    if config.upcycle_state == "weights":  # a new head is allowed, positions are interpolated
        start_from(dense, config.upcycle, "upcycle")
    else:
        take_weights(dense, config.upcycle)


def _with_moe_layers(config: RunConfig, dense: nn.Module, example: Any) -> Built:
    """Replace MLPs in a copy of `dense` by MoE layers."""
    moe = MoEConfig.of_run(config.resolved())

    def surgery(model: nn.Module) -> nn.Module:
        return replace_mlps(tile_depth(model, config.tile_depth), moe, example)

    if config.upcycle is None or next(dense.parameters()).is_meta:
        return Built(surgery(copy.deepcopy(dense)), dense, surgery)
    model, receipt = upcycle_mlps(tile_depth(copy.deepcopy(dense), config.tile_depth), moe, example)
    return Built(model, dense, surgery, receipt.layers, receipt.verdict)


def _rerouted(config: RunConfig, dense: nn.Module) -> Built:
    """Reroute a mixture of experts; the matched model keeps its original rule and shares weights.

    router=dense keeps the original rule.
    """
    if next(dense.parameters()).is_meta or config.upcycles_run:
        raise UserError(
            f"backbone={config.backbone.name} is a mixture of experts: its original rule needs "
            "values to route, and there is no MLP to upcycle; allowed: dense backbones here; its "
            "cost is in the record of a run"
        )
    inapplicable = {
        "tile_depth": config.tile_depth > 1,
        "decoder": config.decoder is not None,
        "renormalise": config.renormalise,
        "shared_experts": config.shared_experts,
        "gate": config.gate is not None,
        "null_experts": config.null_experts,
        "dense_gradient": config.dense_gradient,
    }
    if option := next((name for name, is_set in inapplicable.items() if is_set), None):
        raise UserError(
            f"{option}={getattr(config, option)}: backbone={config.backbone.name} is a mixture of "
            f"experts, which is rerouted unchanged; leave {option} out"
        )
    name = config.router["name"]
    defaults = router_defaults(name)
    # options left at their default follow the model: its experts per token, and whether it
    # normalises their weights
    options = {key: value for key, value in config.router_options.items() if value != defaults[key]}
    shared = {id(value): value for value in chain(dense.parameters(), dense.buffers())}
    model = copy.deepcopy(dense, dict(shared))
    if name == "dense":
        name, options = OWN, {}
    moe = replace(MoEConfig.of_run(config), router=name, options=options)
    return Built(
        replace_routers(model, moe)[0],
        replace_routers(dense, MoEConfig(router=OWN))[0],
    )


def _length(example: Any, decoder: bool) -> int | None:
    """Return the tokens of a text, or of the decoder's; None if the inputs do not tell."""
    key = "decoder_input_ids" if decoder else "input_ids"
    return int(example[key].shape[1]) if isinstance(example, Mapping) and key in example else None
