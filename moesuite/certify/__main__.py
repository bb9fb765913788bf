"""Certify routers: measure how they behave, write it down, and say where a claim is false.

    python -m moesuite.certify router=<name|module:Class|all> [router.<option>=value ...]
        [num_experts=8] [slots_per_token=1.0] [device=cpu] [records=runs]

Prints a table and a verdict in words, and writes <records>/certificates/<router>.json for each
router (with a hash behind the name for a router outside the package, and for options of one's own).
Exit code: 0; 1 where a router claims what does not hold, by a class attribute such as `causal =
True` or by being a router; 2 for bad input.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import yaml
from rich import box
from rich.console import Console
from rich.table import Table

from moesuite.certify.properties import AT_START, PROPERTIES, legend, verdict
from moesuite.config.cli import BAD_INPUT, exits
from moesuite.discovery.names import router_defaults, router_names, source_of
from moesuite.errors import UserError, unknown
from moesuite.records.certificate import Certificate, Check
from moesuite.records.store import certificate_folder, write_certificate

if TYPE_CHECKING:
    from moesuite.certify.harness import Subject

DEFAULTS = {
    "router": "token_choice",
    "num_experts": 8,
    "slots_per_token": 1.0,
    "device": "cpu",
    "records": "runs",
}
FALSE_CLAIM = 1  # exit code
NUMBERS = ("num_experts", "slots_per_token")


def certify(
    router: str,
    options: dict[str, Any],
    num_experts: int = 8,
    slots_per_token: float = 1.0,
    device: str = "cpu",
) -> Certificate:
    """Measure one router.

    Args:
        router: a router's name, or `module.or.file:Class`.
        options: the router's own parameters.
        num_experts: E, >= 2.
        slots_per_token: budget, in (0, E].
        device: where it is measured, as torch names it.

    Raises:
        UserError: for an unknown router or device, an option out of range, or a router that does
            not return a routing.
    """
    from moesuite.certify import certificate as c
    from moesuite.certify.harness import Subject, usable

    if num_experts < 2:
        raise UserError(
            f"num_experts={num_experts}: a router needs a choice; type for example num_experts=8"
        )
    subject = Subject(
        partial(c.build_with, router, **options),
        num_experts,
        slots_per_token,
        device=usable(device),
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
            f"router={router} cannot be certified {subject.tried}: {text}; allowed: forward(x [G, T, D], mask "
            "[G, T] or None) -> SlotRouting, RaggedRouting or SoftRouting; HYDRA_FULL_ERROR=1 shows where"
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
    settings = {key: getattr(subject, key) for key in (*NUMBERS, "device")}
    return Certificate(
        router=router,
        options={**defaults, **options},
        changed={key: value for key, value in options.items() if value != defaults[key]}
        | {key: value for key, value in settings.items() if value != DEFAULTS[key]},
        paper=router_class(router).paper,
        protocol=router_protocol(router),
        code=code_version(router),
        source=source_of(router)[0].read_text(),
        **settings,
        random_in_training=random_in_training,
        claims_causal=bool(subject.layer().router.causal),
        checks=checks,
        at_initialisation=at_start,
        verdict=verdict(checks, random_in_training),
    )


def table(certificates: Sequence[Certificate]) -> Table:
    """Return one line for each router, with the marks of `moesuite.certify.properties.legend`."""
    shown = Table(
        title=f"{certificates[0].num_experts} experts, {certificates[0].slots_per_token:g} slots per token",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=0,
    )
    shown.add_column("router", no_wrap=True)
    for heading in (
        *(prop.heading for prop in PROPERTIES if prop.heading),
        *dict(AT_START.values()),
    ):
        shown.add_column(heading, justify="center", no_wrap=True)
    for certificate in certificates:
        marks = [_mark(certificate.checks[prop.name]) for prop in PROPERTIES if prop.heading]
        shares = [f"{100 * certificate.at_initialisation[name]:.0f} %" for name in AT_START]
        shown.add_row(certificate.router, *marks, *shares)
    return shown


def _mark(check: Check) -> str:
    if check.holds is None:
        return "–" if check.figure is None else f"{check.figure:.2f}"
    if check.false:
        return "!"
    return "✓" if check.holds else "✗"


def words(certificates: Sequence[Certificate]) -> str:
    """Return the verdict on each router, those with a false claim last, where a reader of the console looks first."""
    lines = []
    for certificate in sorted(certificates, key=lambda c: c.has_false_claim):
        start = [] if certificate.has_false_claim else ["keeps what it claims"]
        lines.append(f"{certificate.router}: {'; '.join([*start, *certificate.verdict])}")
    return "\n".join(lines)


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
        elif key in NUMBERS and not isinstance(value, int | float):
            raise UserError(f"{word}: allowed is a number; type for example {key}={DEFAULTS[key]}")
        else:
            values[key] = value
    if values["router"] == "all" and options:
        raise UserError(
            f"router=all with router.{next(iter(options))}: options belong to one router; name it"
        )
    return values, options


def main() -> None:
    """Run the command line; exits with 1 for a false claim and 2 for bad input."""
    if {"--help", "-h"} & set(sys.argv[1:]):
        print(f"{__doc__}\nColumns:\n{legend()}")
        return
    with exits():
        values, options = parse(sys.argv[1:])
        names = router_names() if values["router"] == "all" else [str(values["router"])]
        for name in names:
            source_of(name)
    certificates, errors = _certify_each(names, values, options)
    for error in errors:
        print(f"error: {error}", file=sys.stderr)
    if errors:
        sys.exit(BAD_INPUT)
    sys.exit(FALSE_CLAIM if any(certificate.has_false_claim for certificate in certificates) else 0)


def _certify_each(
    names: Sequence[str], values: dict[str, Any], options: dict[str, Any]
) -> tuple[list[Certificate], list[UserError]]:
    """Certify, write and print; a router that cannot be certified does not stop the others."""
    console = Console(width=None if sys.stdout.isatty() else 150)
    certificates, errors = list[Certificate](), list[UserError]()
    records = str(values["records"])
    with console.status("") as status:
        for name in names:
            status.update(f"certifying {name}")
            try:
                settings = (
                    int(values["num_experts"]),
                    float(values["slots_per_token"]),
                    str(values["device"]),
                )
                certificates.append(certify(name, options, *settings))
            except UserError as error:
                errors.append(error)
                continue
            write_certificate(records, certificates[-1])
    if certificates:
        console.print(table(certificates))
        console.print(
            legend(), words(certificates), sep="\n\n", soft_wrap=True, highlight=False, markup=False
        )
        console.print(f"\ncertificates in {certificate_folder(records)}/", soft_wrap=True)
    return certificates, errors


if __name__ == "__main__":
    main()
