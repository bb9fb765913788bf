"""Certify routers: measure how they behave, and write it down.

    python -m moesuite.certify router=<name|module:Class|all> [router.<option>=value ...]
        [num_experts=8] [slots_per_token=1.0] [records=runs]

Prints a table and writes <records>/certificates/<router>.json for each router. Columns: det: two evaluation passes
agree; batch: independent of the other groups; pad: of padding; order: equivariant to token order; causal: no output
depends on a later token; grad: every parameter gets gradient (task: through the task loss alone); budget: training
stays within it; E=1: is then the dense MLP; upcycled: copies of an MLP answer like it where combine weights sum to 1,
or, where they never do, the largest difference as a share of the largest output; dropped, dead: shares of tokens and
experts at initialisation, in training.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table

from moesuite.artifacts import Certificate, Check
from moesuite.errors import UserError, unknown
from moesuite.plugins import router_defaults, router_names, source_of
from moesuite.record import write_text
from moesuite.words import bad_input_exits

DEFAULTS = {"router": "token_choice", "num_experts": 8, "slots_per_token": 1.0, "records": "runs"}
COLUMNS = {
    "deterministic": "det",
    "batch_independent": "batch",
    "padding_invariant": "pad",
    "equivariant": "order",
    "causal": "causal",
    "gradient": "grad",
    "gradient_task": "task",
    "capacity_enforced": "budget",
    "single_expert_is_dense": "E=1",
    "upcycled_is_dense": "upcycled",
}


def certify(router: str, options: dict[str, Any], num_experts: int = 8, slots_per_token: float = 1.0) -> Certificate:
    """Measure one router.

    Args:
        router: a router's name, or `module.or.file:Class`.
        options: the router's own parameters.
        num_experts: E, >= 2.
        slots_per_token: budget, in (0, E].

    Raises:
        UserError: for an unknown router, or an option out of range.
    """
    from moesuite import certificate as c
    from moesuite.plugins import router_class
    from moesuite.provenance import code_version, router_protocol
    from moesuite.subject import Subject

    if num_experts < 2:
        raise UserError(f"num_experts={num_experts}: a router needs a choice; type for example num_experts=8")
    subject = Subject(partial(c.build_with, router, **options), num_experts, slots_per_token)
    task, auxiliary, both = c.gradients(subject)
    plain = [c.deterministic, c.batch_independent, c.padding_invariant, c.equivariant, c.causal]
    plain += [c.capacity_enforced, c.single_expert_is_dense, c.upcycled_is_dense]
    checks = {check.__name__: check(subject) for check in plain}
    checks |= {"gradient": both, "gradient_task": task, "gradient_auxiliary": auxiliary}
    return Certificate(
        router=router,
        options={**router_defaults(router), **options},
        paper=router_class(router).paper,
        protocol=router_protocol(router),
        code=code_version(router),
        source=source_of(router)[0].read_text(),
        num_experts=num_experts,
        slots_per_token=slots_per_token,
        random_in_training=c.is_random(subject),
        claims_causal=bool(subject.layer().router.causal),
        checks=checks,
        at_initialisation=c.at_start(subject),
    )


def table(certificates: Sequence[Certificate]) -> Table:
    """Return one line per router: ✓ holds, ✗ does not, – does not arise; a number: the largest difference."""
    shown = Table(title=f"{certificates[0].num_experts} experts, {certificates[0].slots_per_token:g} slots per token")
    shown.add_column("router", no_wrap=True)
    for heading in (*COLUMNS.values(), "dropped", "dead"):
        shown.add_column(heading, justify="center", no_wrap=True)
    for certificate in certificates:
        marks = [_mark(certificate.checks[name]) for name in COLUMNS]
        shares = [f"{100 * certificate.at_initialisation[name]:.0f} %" for name in ("dropped_under_capacity", "dead")]
        shown.add_row(certificate.router, *marks, *shares)
    return shown


def _mark(check: Check) -> str:
    if check.holds is None:
        return "–" if check.figure is None else f"{check.figure:.2f}"
    return "✓" if check.holds else "✗"


def parse(words: Sequence[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split words into this command's values and the router's options.

    Raises:
        UserError: for an unknown option or a value of the wrong type.
    """
    values, options = dict(DEFAULTS), {}
    for word in words:
        key, _, text = word.partition("=")
        value = yaml.safe_load(text)
        if key.startswith("router."):
            options[key.removeprefix("router.")] = value
        elif key not in DEFAULTS:
            raise unknown("option", key, DEFAULTS, "router=all")
        elif key in ("num_experts", "slots_per_token") and not isinstance(value, int | float):
            raise UserError(f"{word}: allowed is a number; type for example {key}={DEFAULTS[key]}")
        else:
            values[key] = value
    if values["router"] == "all" and options:
        raise UserError(f"router=all with router.{next(iter(options))}: options belong to one router; name it")
    return values, options


def main() -> None:
    """Run the command line; exits with 2 for bad input."""
    if {"--help", "-h"} & set(sys.argv[1:]):
        print(__doc__)
        return
    console = Console(width=None if sys.stdout.isatty() else 150)
    with bad_input_exits():
        values, options = parse(sys.argv[1:])
        names = router_names() if values["router"] == "all" else [str(values["router"])]
        for name in names:
            source_of(name)
        found, folder = [], Path(str(values["records"])) / "certificates"
        with console.status("") as status:
            for name in names:
                status.update(f"certifying {name}")
                found.append(certify(name, options, int(values["num_experts"]), float(values["slots_per_token"])))
                write_text(folder / f"{name.rpartition(':')[2]}.json", found[-1].model_dump_json(indent=1) + "\n")
        console.print(table(found))
        console.print(f"certificates in {folder}/", soft_wrap=True)


if __name__ == "__main__":
    main()
