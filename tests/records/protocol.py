"""Recorded end states: when results change, a protocol version has to rise.

`python -m tests.records.protocol` records the end states anew in `end_states.json` beside it; it
refuses results that changed while the number that answers for them did not.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from moesuite.discovery.names import router_names, task_families
from moesuite.records.store import write_text
from tests.records.end_states import PROJECTIONS, Recorded, Values, family_states, router_states

GOLDEN = Path(__file__).parent / "end_states.json"
COMMAND = "python -m tests.records.protocol"
TOLERANCE, FLOOR = 1e-4, 0.1  # relative difference; least size of a projection


def measured() -> dict[str, Recorded]:
    """Return everything that is recorded, by name."""
    routers = {f"router {name}": router_states(name) for name in router_names()}
    return routers | {f"family {name}": family_states(name) for name in task_families()}


def file_of(what: str) -> str:
    """Return where the protocol version of the engine, a router or a family stands."""
    kind, _, name = what.partition(" ")
    places = {"router": f"moesuite/routers/{name}.py", "family": f"tasks/{name}/task.py"}
    return f"`protocol` in {places[kind]}" if name else "ENGINE in moesuite/records/protocol.py"


def differences(old: Values, new: Values) -> list[str]:
    """Return in what two end states differ by more than rounding does between processors."""
    found = []
    for key in sorted(old.keys() | new.keys()):
        before, after = old.get(key, math.nan), new.get(key, math.nan)
        size = max(abs(before), abs(after), FLOOR if key in PROJECTIONS else 0.0)
        if not abs(before - after) <= TOLERANCE * size:
            found.append(f"{key} {before:.6g} -> {after:.6g}")
    return found


def unraised(name: str, old: Recorded, new: Recorded) -> str:
    """Return what to do where results changed and no number rose, or one fell.

    Empty if there is nothing to do.
    """
    steps = {
        what: version - old["versions"].get(what, 0) for what, version in new["versions"].items()
    }
    if fallen := [what for what, step in steps.items() if step < 0]:
        return f"{fallen[0]}: a protocol version never falls; raise {file_of(fallen[0])}"
    if any(steps.values()):
        return ""
    shared = sorted(old["states"].keys() & new["states"].keys())
    changed = {label: differences(old["states"][label], new["states"][label]) for label in shared}
    told = "; ".join(f"{label}: {', '.join(parts)}" for label, parts in changed.items() if parts)
    places = ", or ".join(map(file_of, new["versions"]))
    return (
        told
        and f"results of {name} changed ({told}): raise {places}, whichever changed; then run "
        f"{COMMAND}"
    )


def problem(name: str, golden: Mapping[str, Recorded], new: Recorded) -> str:
    """Return what to do so that the end states of a router or family are recorded."""
    if name not in golden:
        return f"{name} is not recorded: run {COMMAND}"
    old = golden[name]
    if told := unraised(name, old, new):
        return told
    for what, version in new["versions"].items():
        if version != old["versions"].get(what):
            return (
                f"protocol of {what} is {version}, recorded is "
                f"{old['versions'].get(what)}: run {COMMAND}"
            )
    if odd := old["states"].keys() ^ new["states"].keys():
        return f"{name} has other runs than are recorded ({', '.join(sorted(odd))}): run {COMMAND}"
    return ""


def rounded(value: Any) -> Any:
    """Return the same with numbers of six digits."""
    if isinstance(value, dict):
        return {key: rounded(inner) for key, inner in value.items()}
    return float(f"{value:.6g}") if isinstance(value, float) else value


def record(path: Path = GOLDEN) -> list[str]:
    """Write the end states of this code, unless results changed and no number rose.

    Returns what has to be raised first; empty if the file was written.
    """
    new = measured()
    golden: dict[str, Recorded] = (
        json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    )
    told = [unraised(name, golden[name], new[name]) for name in golden.keys() & new.keys()]
    if refused := sorted(filter(None, told)):
        return refused
    write_text(path, json.dumps(rounded(new), indent=1) + "\n")
    return []


if __name__ == "__main__":
    if refused := record():
        print("\n".join(refused), file=sys.stderr)
        sys.exit(1)
    print(f"end states in {GOLDEN}", file=sys.stderr)
