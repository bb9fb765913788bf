"""Certify routers: measure how they behave, write it down, and name false claims.

    python -m moesuite.certify router=soft
    python -m moesuite.certify router=all
    python -m moesuite.certify router=my_file:MyRouter router.k=2 num_experts=4

Prints a table and a verdict in words, and writes <records>/certificates/<router>.json for each
router (with a hash in the name for a router outside the package, and for options other than the
defaults).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field
from rich import box
from rich.console import Console
from rich.table import Table

from moesuite.certify.properties import AT_START, PROPERTIES, legend, verdict
from moesuite.config.cli import BAD_INPUT, Options, Prefix, run_command
from moesuite.config.schema import GateKind
from moesuite.discovery.names import router_defaults, router_names, source_of
from moesuite.errors import UserError, refuse_unwritable
from moesuite.records.certificate import Certificate, Check
from moesuite.records.store import certificate_folder, write_certificate

if TYPE_CHECKING:
    from moesuite.certify.harness import Subject

FALSE_CLAIM = 1  # exit code
CODES = {
    0: "all routers keep what they claim",
    FALSE_CLAIM: "one claims what does not hold, by a class attribute such as causal = True or by "
    "being a router",
    BAD_INPUT: "one cannot be certified, or bad input",
}
SETTINGS = ("num_experts", "slots_per_token", "device", "gate")  # of a measurement


class CertifyOptions(Options):
    """Options of the command."""

    router: str = Field(
        "token_choice", description="name of a router, or <module or file>:<class>; all: each one"
    )
    options: Annotated[dict[str, Any], Prefix("router.")] = Field(
        {}, description="options of this router, see python -m moesuite.run router=<name> --help"
    )
    num_experts: int = Field(8, ge=2, description="number of experts")
    slots_per_token: float = Field(
        1.0, gt=0, description="slots of all experts per token, up to the number of experts"
    )
    gate: GateKind | None = Field(None, description="kind of the router's gate; null: its own")
    device: str = Field("cpu", description="where it is measured, as torch names it")
    records: str = Field("runs", description="folder of records; certificates/ is inside")


def certify(
    router: str,
    options: dict[str, Any],
    num_experts: int = 8,
    slots_per_token: float = 1.0,
    device: str = "cpu",
    gate: GateKind | None = None,
) -> Certificate:
    """Measure one router.

    Args:
        router: a router's name, or `module.or.file:Class`.
        options: the router's own options.
        num_experts: E, >= 2.
        slots_per_token: budget, in (0, E].
        device: where it is measured, as torch names it.
        gate: kind of the router's gate; None: its own.

    Raises:
        UserError: for an unknown router or device, an option out of range, or a router that does
            not return a routing.
    """
    from moesuite.certify import certificate as c
    from moesuite.certify.harness import Subject, usable

    if num_experts < 2:  # a router needs a choice
        raise UserError(f"num_experts={num_experts}: expected at least 2, e.g. num_experts=8")
    subject = Subject(
        partial(c.build_with, router, **options),
        num_experts,
        slots_per_token,
        device=usable(device),
        gate=gate,
    )
    try:
        checks = {prop.name: c.measure(prop, subject) for prop in PROPERTIES}
        random_in_training, at_start = c.is_random(subject), c.at_start(subject)
    except UserError:
        raise
    except Exception as error:  # whatever a router does, it must not stop the others
        if os.environ.get("HYDRA_FULL_ERROR") == "1":
            raise
        text = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
        raise UserError(
            f"router={router} cannot be certified {subject.tried}: {text}; expected "
            "forward(x [G, T, D], mask [G, T] or None) -> SlotRouting, RaggedRouting or "
            "SoftRouting; HYDRA_FULL_ERROR=1 shows where"
        ) from error
    return _certificate(router, options, subject, checks, random_in_training, at_start)


def _certificate(
    router: str,
    options: dict[str, Any],
    subject: Subject,
    checks: dict[str, Check],
    random_in_training: bool,
    at_start: dict[str, float],
) -> Certificate:
    from moesuite.records.provenance import code_version, router_protocol
    from moesuite.routers import router_class

    defaults = router_defaults(router)
    settings = {name: getattr(subject, name) for name in SETTINGS}
    changed = {name: value for name, value in options.items() if value != defaults[name]}
    changed |= {
        name: value
        for name, value in settings.items()
        if value != CertifyOptions.model_fields[name].default
    }
    return Certificate(
        router=router,
        options={**defaults, **options},
        changed=changed,
        paper=router_class(router).paper,
        protocol=router_protocol(router),
        code=code_version(router),
        source=source_of(router)[0].read_text(encoding="utf-8"),
        **settings,
        random_in_training=random_in_training,
        claims_causal=bool(subject.layer().router.causal),
        checks=checks,
        at_initialisation=at_start,
        verdict=verdict(checks, random_in_training),
    )


def table(certificates: Sequence[Certificate]) -> Table:
    """Return a table of one line per router, with the marks of `properties.legend`."""
    first = certificates[0]
    rows = Table(
        title=f"{first.num_experts} experts, {first.slots_per_token:g} slots per token",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=0,
    )
    rows.add_column("router", no_wrap=True)
    properties = [prop.heading for prop in PROPERTIES if prop.heading]
    for heading in (*properties, *dict(AT_START.values())):
        rows.add_column(heading, justify="center", no_wrap=True)
    for certificate in certificates:
        marks = [_mark(certificate.checks[prop.name]) for prop in PROPERTIES if prop.heading]
        shares = [f"{100 * certificate.at_initialisation[name]:.0f} %" for name in AT_START]
        rows.add_row(certificate.router, *marks, *shares)
    return rows


def _mark(check: Check) -> str:
    if check.holds is None:
        return "–" if check.figure is None else f"{check.figure:.2f}"
    if check.false:
        return "!"
    return "✓" if check.holds else "✗"


def verdict_lines(certificates: Sequence[Certificate]) -> str:
    """Return the verdict on each router, false claims last, next to the reader's prompt."""
    lines = []
    for certificate in sorted(certificates, key=lambda c: c.has_false_claim):
        start = [] if certificate.has_false_claim else ["keeps what it claims"]
        lines.append(f"{certificate.router}: {'; '.join([*start, *certificate.verdict])}")
    return "\n".join(lines)


def certify_each(options: CertifyOptions) -> int:
    """Certify, write and print; a router that cannot be certified does not stop the others."""
    if options.router == "all" and options.options:
        raise UserError(
            f"router=all with router.{next(iter(options.options))}: options belong to one router; "
            "name it"
        )
    names = router_names() if options.router == "all" else [options.router]
    for name in names:
        source_of(name)  # fail on typos before the slow imports
    refuse_unwritable(certificate_folder(options.records), f"records={options.records}")
    certificates, errors = list[Certificate](), list[UserError]()
    console = Console(width=None if sys.stdout.isatty() else 150)
    settings = [getattr(options, name) for name in SETTINGS]
    with console.status("") as status:
        for name in names:
            status.update(f"certifying {name}")
            try:
                certificates.append(certify(name, options.options, *settings))
            except UserError as error:
                errors.append(error)
                continue
            write_certificate(options.records, certificates[-1])
    if certificates:
        lines = verdict_lines(certificates)
        console.print(table(certificates))
        console.print(legend(), lines, sep="\n\n", soft_wrap=True, highlight=False, markup=False)
        folder = certificate_folder(options.records)
        console.print(f"\ncertificates in {folder}/", soft_wrap=True)
    for problem in errors:
        print(f"error: {problem}", file=sys.stderr)
    if errors:
        return BAD_INPUT
    return FALSE_CLAIM if any(certificate.has_false_claim for certificate in certificates) else 0


def main() -> None:
    """Run the command line; exits with 1 for a false claim and 2 for bad input."""
    run_command(certify_each, CertifyOptions, __doc__, codes=CODES, notes=f"Columns:\n{legend()}")


if __name__ == "__main__":
    main()
