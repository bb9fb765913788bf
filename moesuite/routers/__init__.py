"""The catalogue of routers: one router, one file; the file name is the name of the router."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from moesuite.config.options import checked_options
from moesuite.discovery.loading import load_router
from moesuite.errors import UserError
from moesuite.routing.layer import GATES
from moesuite.routing.router import LayerSpec, Router


def router_class(name: str) -> type[Router]:
    """Import the class of a router.

    Raises:
        UserError: for an unknown name, or a class that is not a `Router`.
    """
    cls = load_router(name)
    if not issubclass(cls, Router):
        raise UserError(
            f"router={name}: {cls.__name__} is not a Router; allowed: a subclass of moesuite.Router"
        )
    return cls


def build_router(name: str, spec: LayerSpec, options: Mapping[str, Any]) -> Router:
    """Build a router, its options checked against the annotations of its `__init__`.

    Raises:
        UserError: for an unknown option, a value outside its type or range, or a kind of gate for a
            router without one.
    """
    cls = router_class(name)
    valid = checked_options(cls.__init__, options, "router")
    router = cls(spec, **valid)
    if spec.gate is not None and not any(isinstance(m, GATES[spec.gate]) for m in router.modules()):
        raise UserError(
            f"gate={spec.gate}: router={name} has no gate to replace; expected a router that calls "
            "moesuite.routing.router.build_gate, e.g. router=token_choice; or leave gate out"
        )
    router.name, router.options = name, valid
    return router
