"""moesuite: a benchmark suite for mixture-of-experts routers.

    from moesuite import moefy, aux_loss
    model = moefy(timm.create_model("vit_small_patch16_224"), router="soft", num_experts=16)

Names are imported when they are first used, so that `import moesuite` and every `--help` stay fast.
"""

from __future__ import annotations

import importlib
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    __version__: str

    from moesuite.compute.cost import cost as cost
    from moesuite.compute.memory import keep_freed_memory as keep_freed_memory
    from moesuite.config.compose import compose as compose
    from moesuite.discovery.names import list_routers as list_routers
    from moesuite.discovery.names import list_tasks as list_tasks
    from moesuite.errors import UserError as UserError
    from moesuite.loops.carried import carry_aux_loss as carry_aux_loss
    from moesuite.loops.trainer import with_aux_loss as with_aux_loss
    from moesuite.models.mlps.split.read import SplitMLP as SplitMLP
    from moesuite.nn.experts import DenseMLP as DenseMLP
    from moesuite.nn.export import for_export as for_export
    from moesuite.nn.moe import MoE as MoE
    from moesuite.nn.moe import aux_loss as aux_loss
    from moesuite.records.record import RunRecord as RunRecord
    from moesuite.routing.router import LayerSpec as LayerSpec
    from moesuite.routing.router import RaggedRouting as RaggedRouting
    from moesuite.routing.router import Router as Router
    from moesuite.routing.router import SlotRouting as SlotRouting
    from moesuite.routing.router import SoftRouting as SoftRouting
    from moesuite.surgery.checkpoint import load_moe as load_moe
    from moesuite.surgery.checkpoint import save_moe as save_moe
    from moesuite.surgery.moefy import moefy as moefy
    from moesuite.surgery.reroute import reroute as reroute
    from moesuite.surgery.upcycle import upcycle as upcycle
    from moesuite.train.fit import fit as fit
    from moesuite.train.results.loaded_run import load_run as load_run

_HOMES = {
    "compose": "config.compose",
    "cost": "compute.cost",
    "list_routers": "discovery.names",
    "list_tasks": "discovery.names",
    "UserError": "errors",
    "keep_freed_memory": "compute.memory",
    "carry_aux_loss": "loops.carried",
    "with_aux_loss": "loops.trainer",
    "DenseMLP": "nn.experts",
    "for_export": "nn.export",
    "SplitMLP": "models.mlps.split.read",
    "MoE": "nn.moe",
    "aux_loss": "nn.moe",
    "RunRecord": "records.record",
    "reroute": "surgery.reroute",
    "LayerSpec": "routing.router",
    "RaggedRouting": "routing.router",
    "Router": "routing.router",
    "SlotRouting": "routing.router",
    "SoftRouting": "routing.router",
    "load_moe": "surgery.checkpoint",
    "save_moe": "surgery.checkpoint",
    "moefy": "surgery.moefy",
    "fit": "train.fit",
    "load_run": "train.results.loaded_run",
    "upcycle": "surgery.upcycle",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return version("moesuite")
    if name not in _HOMES:
        raise AttributeError(f"module 'moesuite' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"moesuite.{_HOMES[name]}"), name)
    globals()[name] = value  # a submodule of the same name would hide it otherwise
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
