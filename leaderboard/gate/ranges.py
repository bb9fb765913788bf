"""Ranges of figures, and the line that refuses a figure outside its range."""

from __future__ import annotations

from moesuite.errors import UserError
from moesuite.records.record import RunRecord

Number = int | float
CLOSE = 1e-6  # of sums in another order, relative


def is_dense(record: RunRecord) -> bool:
    """Return whether a model has no MoE layer; a Hugging Face model may bring its own."""
    return record.router == "dense" and not may_be_moe(record)


def may_be_moe(record: RunRecord) -> bool:
    """Return whether the backbone may itself be an MoE, with its own number of experts."""
    return str(record.config["backbone"].get("model", "hf:")).startswith("hf:")


def within(
    name: str, value: Number, least: Number | None, most: Number | None, why: str = ""
) -> None:
    """Refuse a figure outside its range.

    Args:
        name: of the field.
        value: of it.
        least, most: bounds, inclusive up to rounding; None if unbounded.
        why: what the range follows from, for the message.

    Raises:
        UserError: names field, value and range.
    """
    slack = CLOSE * abs(value)
    if (least is None or value >= least - slack) and (most is None or value <= most + slack):
        return
    if least is not None and least == most:
        allowed = f"{least:.12g}"
    elif most is None:
        allowed = f"{least:.6g} or more"
    else:
        allowed = f"{most:.6g} or less" if least is None else f"{least:.6g} to {most:.6g}"
    raise UserError(f"{name} is {value:.12g}; allowed: {allowed}{why}")


def share(name: str, value: Number) -> None:
    """Refuse a share outside [0, 1]; see `within`."""
    within(name, value, 0, 1)
