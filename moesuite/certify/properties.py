"""The properties of a certificate, in the order of its columns; for command and contract."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from moesuite.records.certificate import Check


@dataclass(frozen=True)
class Property:
    """One property.

    Attributes:
        name: of the check.
        heading: of its column; empty without one.
        claim: what a router claims, as in "claims …"; empty if no router claims it.
        meaning: text of the legend.
        denial: what a router that does not claim it declares; empty to report the detail only.
    """

    name: str
    heading: str
    claim: str
    meaning: str
    denial: str = ""

    def sentence(self, check: Check) -> str:
        """Return the message of a failed check, e.g. "claims causal, leaks in training …"."""
        if check.false:
            return f"claims {self.claim}, {check.detail}"
        return f"{self.denial}: {check.detail}" if self.denial else check.detail


PROPERTIES = (
    Property(
        "deterministic",
        "det",
        "to be deterministic in evaluation",
        "later evaluations of one layer agree to the last bit, draw nothing at random and keep "
        "no state; training repeats by its seed",
    ),
    Property(
        "input_unchanged",
        "input",
        "to leave its tokens as they are",
        "tokens and mask are not changed in place",
    ),
    Property(
        "batch_independent",
        "batch",
        "to be independent of the batch",
        "a group's output does not depend on other groups, nor on their number, in evaluation "
        "and training",
        "says that it couples the batch",
    ),
    Property(
        "padding_invariant",
        "pad",
        "to be blind to padding",
        "padding on the right, left or scattered changes no output, and is never routed",
    ),
    Property(
        "equivariant", "order", "", "tokens in another order give the same outputs in that order"
    ),
    Property(
        "causal",
        "causal",
        "causal",
        "no output depends on a later token, in training and evaluation, in groups of 5 to 257 "
        "tokens",
        "looks ahead",
    ),
    Property(
        "gradient", "grad", "gradient for every parameter", "every parameter gets a finite gradient"
    ),
    Property(
        "gradient_task", "task", "", "every parameter gets gradient through the task loss alone"
    ),
    Property(
        "gradient_auxiliary",
        "",
        "",
        "every parameter gets gradient through the auxiliary losses alone",
    ),
    Property(
        "capacity_enforced",
        "budget",
        "to keep to its budget",
        "experts never do more work than slots_per_token allows, for skewed, constant, huge and "
        "tiny tokens too",
        "says that it has no budget",
    ),
    Property(
        "drops_as_claimed",
        "drops",
        "to refuse only as `drops` says",
        "pairs are refused only if the router declares `drops`, and only under a limit",
    ),
    Property(
        "weights_finite",
        "finite",
        "finite numbers",
        "combine weights and losses are numbers, for huge logits too",
    ),
    Property(
        "weights_not_negative",
        "sign",
        "no weight below 0",
        "no combine weight is below 0",
        "says so",
    ),
    Property(
        "auxiliary_losses",
        "aux",
        "auxiliary losses that are means",
        "they do not grow with the batch or the length, and do not see padding",
    ),
    Property("single_expert_is_dense", "E=1", "", "with one expert the layer is the dense MLP"),
    Property(
        "upcycled_is_dense",
        "upcycled",
        "",
        "copies of an MLP give its output where combine weights sum to 1; where they never do, "
        "the largest difference as a share of the largest output",
    ),
)
MARKS = "✓ holds, ✗ does not hold and is not claimed, ! claimed but false, – not applicable"
LIMITS = (
    "tried with groups of 1 to 257 tokens and batches of 1 to 130 groups; faults at other sizes "
    "only are not seen"
)
AT_START = {
    "dropped_under_capacity": (
        "dropped",
        "share of tokens that no expert serves at initialisation, in training",
    ),
    "dead": ("dead", "share of experts with less than 1 % of the uniform load, likewise"),
}


def legend() -> str:
    """Return one line for each column."""
    meanings = {
        "marks": MARKS,
        "limits": LIMITS,
        **{prop.heading: prop.meaning for prop in PROPERTIES if prop.heading},
    }
    meanings |= dict(AT_START.values())
    return "\n".join(f"{heading:>9}  {meaning}" for heading, meaning in meanings.items())


def verdict(checks: Mapping[str, Check], random_in_training: bool) -> list[str]:
    """Return messages of failed checks: false claims first, then what no router has to claim."""
    failed = [(prop, checks[prop.name]) for prop in PROPERTIES if checks[prop.name].holds is False]
    false = [prop.sentence(check) for prop, check in failed if check.false]
    others = [
        prop.sentence(check)
        for prop, check in failed
        if not check.false and (prop.claim or prop.heading == "order")
    ]
    return false + others + ["draws at random in training"] * random_in_training
