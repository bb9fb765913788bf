"""Task and models of a configuration."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import chain
from typing import Any

import torch
from torch import nn

from moesuite.certify.causality import USUAL
from moesuite.certify.certificate import causal, causal_routers
from moesuite.certify.harness import Subject
from moesuite.config.options import checked_options
from moesuite.config.schema import RunConfig
from moesuite.discovery.names import router_defaults
from moesuite.errors import UserError
from moesuite.models.backbones import build_backbone
from moesuite.models.depth_tiling import tile_depth
from moesuite.models.hf_moe import OWN, blocks
from moesuite.nn.moe import MoE, moe_layers
from moesuite.records.certificate import Check
from moesuite.records.record import UpcycledLayer
from moesuite.routing.router import LayerSpec, Router
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
    own = {key: value for key, value in options.items() if key not in ("family", "recipe")}
    return cls.from_options(**checked_options(cls.__init__, own, "task"))


def build_task(options: dict[str, Any]) -> Task:
    """Build a task from its resolved options and load its data."""
    task = declare_task(options)
    task.prepare()
    return task


def shared_task(options: dict[str, Any]) -> Task:
    """Return a loaded task, which runs of the same options in this process share: a sweep loads its data once."""
    return _shared(json.dumps(options, sort_keys=True))


@lru_cache(maxsize=1)
def _shared(options: str) -> Task:
    return build_task(json.loads(options))


@dataclass(frozen=True)
class Built:
    """The models of a run.

    Attributes:
        model: with its MoE layers.
        dense: the matched one with the same initial weights; of a rerouted model, the one with its
            own rule.
        surgery: what makes the one of the other; of a rerouted model, nothing.
        receipt: what upcycling changed, by layer; verdict: where the model starts, in words.
    """

    model: nn.Module
    dense: nn.Module
    surgery: Callable[[nn.Module], nn.Module] = lambda model: model
    receipt: list[UpcycledLayer] = field(default_factory=list)
    verdict: str = ""

    @property
    def causal(self) -> bool | None:
        """Whether the routers of all layers claim to look at no later token, as built: k decides; None: no layers."""
        claims = [layer.router.causal for _, layer in moe_layers(self.model)]
        return all(claims) if claims else None


def build_models(config: RunConfig, task: Task, example: Any) -> Built:
    """Return the model with its MoE layers, and the matched dense model with the same initial weights.

    Raises:
        UserError: for a router that looks ahead on a causal task, or `init` or `upcycle` weights
            that do not fit.
    """
    weightless = torch.get_default_device().type == "meta"  # for accounting
    if not weightless:
        _check_start(config)
    backbone = config.backbone
    dense = build_backbone(
        backbone.model,
        backbone.pretrained,
        backbone.seed,
        task.backbone_arguments(),
        backbone.kwargs,
    )
    if config.upcycles_run and not weightless:
        _upcycle_weights(config, dense)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.router_seed)
        built = (
            _rerouted(config, dense) if any(blocks(dense)) else _with_layers(config, dense, example)
        )
    if config.init is not None:
        start_from(built.model, config.init)
    if not config.allow_noncausal:
        layers = [layer for _, layer in moe_layers(built.model)]
        if task.causal:
            refuse_lookahead(layers, "this task", _length(task.blank(), decoder=False))
        elif task.causal_decoder:
            decoders = [layer for layer in layers if layer.in_decoder]
            refuse_lookahead(
                decoders, "in the decoder, this task", _length(task.blank(), decoder=True)
            )
    return built


def _check_start(config: RunConfig) -> None:
    if config.tile_depth > 1 and config.upcycle is None:
        raise UserError(
            f"tile_depth={config.tile_depth} repeats trained blocks; type upcycle=<checkpoint> beside it"
        )
    if config.init is not None and config.upcycle is not None:
        raise UserError(
            f"init={config.init} beside upcycle={config.upcycle}: both name weights; allowed is one of them"
        )
    if config.upcycle_state is not None and not config.upcycles_run:
        raise UserError(
            f"upcycle_state={config.upcycle_state}: nothing goes on but the checkpoint of a run; type "
            "upcycle=<last.ckpt> beside it, or leave it out"
        )
    named = config.upcycle is not None and not config.upcycles_run
    if named and not (config.backbone.model == config.upcycle and config.backbone.pretrained):
        raise UserError(
            f"upcycle={config.upcycle}: the backbone is {config.backbone.model}; type backbone={config.upcycle} "
            "backbone.pretrained=true beside it"
        )


def _upcycle_weights(config: RunConfig, dense: nn.Module) -> None:
    assert config.upcycle is not None
    if config.upcycle_state == "weights":  # another head is new, positions are interpolated
        start_from(dense, config.upcycle, "upcycle")
    else:
        take_weights(dense, config.upcycle)


def _with_layers(config: RunConfig, dense: nn.Module, example: Any) -> Built:
    """Make MoE layers of the MLPs of a copy of `dense`."""
    moe = MoEConfig.of_run(config.resolved())

    def surgery(model: nn.Module) -> nn.Module:
        return replace_mlps(tile_depth(model, config.tile_depth), moe, example)

    if config.upcycle is None or next(dense.parameters()).is_meta:
        return Built(surgery(copy.deepcopy(dense)), dense, surgery)
    model, receipt = upcycle_mlps(tile_depth(copy.deepcopy(dense), config.tile_depth), moe, example)
    return Built(model, dense, surgery, receipt.layers, receipt.verdict)


def _rerouted(config: RunConfig, dense: nn.Module) -> Built:
    """Reroute a model that is a mixture of experts; the matched one keeps its own rule, and both share all weights.

    router=dense leaves the own rule.
    """
    if next(dense.parameters()).is_meta or config.upcycles_run:
        raise UserError(
            f"backbone={config.backbone.name} is a mixture of experts: its own rule needs values to decide, and "
            "nothing is left to upcycle; allowed: dense backbones here; its cost stands in the record of a run"
        )
    unfit = {
        "tile_depth": config.tile_depth > 1,
        "decoder": config.decoder is not None,
        "renormalise": config.renormalise,
    }
    if wrong := [option for option, given in unfit.items() if given]:
        raise UserError(
            f"{wrong[0]}={getattr(config, wrong[0])}: backbone={config.backbone.name} is a mixture of experts, which "
            f"is rerouted as it is; leave {wrong[0]} out"
        )
    name, defaults = config.router["name"], router_defaults(config.router["name"])
    # what was not typed is the model's own: its experts per token, and whether it normalises their
    # weights
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


def refuse_lookahead(layers: Iterable[MoE], where: str, length: int | None = None) -> None:
    """Measure whether the routers of `layers` are causal, as they were built, where later tokens are predicted.

    A rule that a model came with is: it looks at one token at a time.

    Args:
        layers: with the routers.
        where: for the message.
        length: tokens of a group in this run, tried beside the usual ones; None: not known.

    Raises:
        UserError: if one is not, with the names of those that are.
    """
    routers = {
        (r.name, json.dumps(r.options, sort_keys=True)): r
        for r in (layer.router for layer in layers)
    }
    for (name, options), router in routers.items():
        if name == OWN:
            continue
        size = max(2, router.spec.num_experts)
        check = _causal(type(router), name, options, size, length or router.spec.tokens)
        if not check.holds:
            raise UserError(
                f"router={name} is not causal (certificate: {check.detail}), and {where} predicts later tokens; "
                f"allowed: {', '.join(causal_routers())}; or type allow_noncausal=true, and the record will say so"
            )


@lru_cache(maxsize=64)
def _causal(
    cls: type[Router], name: str, options: str, num_experts: int, length: int | None
) -> Check:
    """Return what the certificate says of a class with these options: measured once in a process."""

    def build(spec: LayerSpec) -> Router:
        router = cls(spec, **json.loads(options))
        router.name = name
        return router

    lengths = [USUAL] if length is None or length == USUAL else [USUAL, length]
    return causal(Subject(build, num_experts), lengths)


def _length(example: Any, decoder: bool) -> int | None:
    """Return the tokens of a sequence of text, or of the decoder's; None where they are not known from the inputs."""
    key = "decoder_input_ids" if decoder else "input_ids"
    return int(example[key].shape[1]) if isinstance(example, Mapping) and key in example else None
