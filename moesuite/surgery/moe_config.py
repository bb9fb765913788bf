"""`MoEConfig`: what the MoE layers of a model are, passed whole from the user to the layers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from moesuite.config.options import checked_options, word
from moesuite.config.schema import BalanceScope, GateKind, RunConfig
from moesuite.config.sections import null_counts
from moesuite.discovery.names import router_names
from moesuite.errors import UserError
from moesuite.models.selection import Layers
from moesuite.nn.beside.parts import Parts
from moesuite.routers import router_class
from moesuite.routing.router import LayerSpec


@dataclass(frozen=True)
class MoEConfig:
    """The MoE layers of a model. The only place of their defaults in Python.

    `moefy`, `upcycle` and `reroute` take these fields as keyword arguments; `of_run` reads them
    from the command line, whose defaults are the same.

    Attributes:
        router: name of a router, or `module.or.file:Class` outside the package; "dense" changes
            nothing.
        num_experts: experts E of each layer, >= 1; ignored when rerouting.
        layers: "last_half" (Soft MoE), "every_other" (V-MoE: second, fourth, ...), "all",
            "last_two", indices among the candidates (negative from the end), or names of modules;
            ignored when rerouting.
        slots_per_token: expert work per token relative to the MLP, E·C/T, in (0, E]. Token choice:
            K times the capacity factor; expert choice: the capacity factor; Soft MoE: slots over
            tokens. None: 1, the work of the MLP; when rerouting, the model's own number of experts
            per token.
        eval_slots_per_token: the same in evaluation; None: as in training, and without limit for
            routers that drop.
        renormalise: divide the combine weights of each token by their sum. None: only when
            upcycling a model of images, as it hurts language in the paper of `moesuite.upcycle`.
        decoder: another router for the decoder layers of an encoder-decoder: its `name` and its
            options.
        balance_scope: tokens over which balance losses and running statistics are taken in
            training: "global", the batch on all processes; "local", this process's share;
            "sequence", each group; see `moesuite.routing.scope`.
        shared_experts: experts S that serve every token beside the routed ones, >= 0: the expert
            work of a token is `slots_per_token` + S; see `moesuite.nn.beside.shared_experts`.
        gate: how routers compute their logits, see `moesuite.routing.layer`; None: linear, or what
            a router has.
        null_experts: experts without an MLP that the router chooses from beside the others: a
            number of zero experts, or numbers by kind, {"zero": 1, "copy": 1, "constant": 2}; see
            `moesuite.nn.beside.null_experts`.
        dense_gradient: let running means stand in for the outputs of the experts that a token
            lacks, see `moesuite.nn.beside.default_outputs`.
        options: the router's own parameters.
    """

    router: str = "token_choice"
    num_experts: int = 8
    layers: Layers = "last_half"
    slots_per_token: float | None = None
    eval_slots_per_token: float | None = None
    renormalise: bool | None = None
    decoder: Mapping[str, Any] | None = None
    balance_scope: BalanceScope = "global"
    shared_experts: int = 0
    gate: GateKind | None = None
    null_experts: int | Mapping[Any, int] | None = None
    dense_gradient: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of_arguments(cls, options: Mapping[str, Any], **values: Any) -> MoEConfig:
        """Return the layers of a call: further fields are among the router's own `options`.

        Raises:
            UserError: for a value of the wrong type.
        """
        names = {part.name for part in fields(cls)}
        further = {name: value for name, value in options.items() if name in names}
        routers = {name: value for name, value in options.items() if name not in names}
        arguments = {**values, **further}
        # checked where kinds are counted: here True would become 1
        unchecked = {"null_experts": arguments.pop("null_experts", cls.null_experts)}
        valid = checked_options(cls.__init__, arguments, "")
        return cls(**valid, **unchecked, options=routers)

    @classmethod
    def of_run(cls, run: RunConfig) -> MoEConfig:
        """Return the MoE layers that a run asks for."""
        return cls(
            router=run.router["name"],
            num_experts=run.num_experts,
            layers=run.layers,
            slots_per_token=run.slots_per_token,
            eval_slots_per_token=run.eval_slots_per_token,
            renormalise=run.renormalise,
            decoder=run.decoder,
            balance_scope=run.balance_scope,
            shared_experts=run.shared_experts or 0,
            gate=run.gate,
            null_experts=run.null_experts,
            dense_gradient=bool(run.dense_gradient),
            options=run.router_options,
        )

    @property
    def parts(self) -> Parts:
        """What each layer has beside router and routed experts.

        Raises:
            UserError: for a value out of range.
        """
        counts = null_counts(self.null_experts)
        return Parts(bool(self.renormalise), self.shared_experts, counts, self.dense_gradient)

    def refuse_router(self, name: str) -> None:
        """Refuse a router for which an option of the layers means nothing.

        Raises:
            UserError: naming the option, and routers that it is for.
        """
        parts, cls = self.parts, router_class(name)
        if parts.null_experts and not cls.tokens_choose:
            raise _unfit(
                f"router={name} null_experts={word(parts.null_experts)}: its tokens do not choose "
                "among experts, so that null experts would spare no work",
                [other for other in router_names() if router_class(other).tokens_choose],
            )
        if parts.dense_gradient and not cls.dense_gates:
            raise _unfit(
                f"router={name} dense_gradient=true: it has no gates of all experts, of which the "
                "weights are the chosen ones",
                [other for other in router_names() if router_class(other).dense_gates],
            )

    def layer_spec(
        self,
        dim: int,
        tokens: int | None = None,
        num_experts: int | None = None,
        default_slots: float = LayerSpec.slots_per_token,
    ) -> LayerSpec:
        """Return what a router has to know about one layer, null experts included.

        Args:
            dim: width D of a token.
            tokens: tokens T of a group where every input has as many, else None.
            num_experts: None for the configured number.
            default_slots: slots per token where `slots_per_token` is None.

        Raises:
            UserError: for a value out of range.
        """
        spec = LayerSpec(
            dim=dim,
            num_experts=self.num_experts if num_experts is None else num_experts,
            slots_per_token=default_slots if self.slots_per_token is None else self.slots_per_token,
            eval_slots_per_token=self.eval_slots_per_token,
            tokens=tokens,
            balance_scope=self.balance_scope,
            gate=self.gate,
        )
        return spec.with_null_experts(sum(self.parts.null_experts.values()))


def _unfit(problem: str, fitting: list[str]) -> UserError:
    return UserError(f"{problem}; expected one of {', '.join(fitting)}, e.g. router=token_choice")
