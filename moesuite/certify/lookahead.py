"""Refuse routers that look ahead in a model that predicts later tokens."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import lru_cache

from moesuite.certify.causality import USUAL, causal
from moesuite.certify.certificate import causal_routers
from moesuite.certify.harness import Subject
from moesuite.errors import UserError
from moesuite.models.moe_blocks.original import OWN
from moesuite.nn.moe import MoE
from moesuite.records.certificate import Check
from moesuite.routing.router import LayerSpec, Router


def refuse_lookahead(layers: Iterable[MoE], where: str, length: int | None = None) -> None:
    """Measure whether the routers of `layers` are causal with their options, and refuse others.

    The original rule of a Hugging Face model is causal: it routes each token by itself.

    Args:
        layers: whose routers to measure.
        where: names the task or its part in the message.
        length: tokens of a group in this run, tried in addition to the usual length; None: not
            known.

    Raises:
        UserError: for the first router that is not causal; lists those that are.
    """
    routers = {}
    for layer in layers:
        router = layer.router
        routers[router.name, json.dumps(router.options, sort_keys=True)] = router
    for (name, options), router in routers.items():
        if name == OWN:
            continue
        num_experts = max(2, router.spec.num_experts)
        check = _causal(type(router), name, options, num_experts, length or router.spec.tokens)
        if not check.holds:
            raise UserError(
                f"router={name} is not causal (certificate: {check.detail}), and {where} predicts "
                f"later tokens; allowed: {', '.join(causal_routers())}; or type "
                "allow_noncausal=true, and the record will say so"
            )


@lru_cache(maxsize=64)
def _causal(
    cls: type[Router], name: str, options: str, num_experts: int, length: int | None
) -> Check:
    """Return the certificate's check of a class with these options, measured once per process."""

    def build(spec: LayerSpec) -> Router:
        router = cls(spec, **json.loads(options))
        router.name = name
        return router

    lengths = [USUAL] if length is None or length == USUAL else [USUAL, length]
    return causal(Subject(build, num_experts), lengths)
