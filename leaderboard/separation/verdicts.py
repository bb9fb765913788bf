"""Verdicts on published claims, by rules that were written before there was a record.

USMoE's abstract (Do, Le and Tran 2025, https://arxiv.org/abs/2503.22996) says of its predecessors
that token choice focuses on irrelevant experts, and that expert choice risks to drop important
tokens. Of Soft MoE it is said that it drops nothing (Puigcerver et al. 2023,
https://arxiv.org/abs/2308.00951). `needles` knows which tokens are important, and all routers do
the same work there. The level of 5 % is shared by the three tests.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from moesuite.leaderboard.ingest.entry import Entry
from moesuite.leaderboard.separation.task import TaskResult
from moesuite.statistics.significance import ENOUGH, LEVEL, BySeed, Estimate, difference

TASK = "needles"
SERVED, WORK, LOSS = "needles_served", "needle_work", "excess_loss"
HOLDS, REFUTED, OPEN = "holds", "does not hold", "open"
Metric = Callable[[str, str], BySeed]  # router, metric -> value by seed
CLAIMS = 3  # that share the level


@dataclass(frozen=True)
class Verdict:
    """A claim, and what the records say.

    Attributes:
        claim: as published, in our words.
        rule: which statistic decides, and how.
        verdict: holds, does not hold, open, or what else the rule says.
        figures: the statistic.
    """

    claim: str
    rule: str
    verdict: str
    figures: str


def verdicts(tasks: Sequence[TaskResult], entries: Mapping[str, list[Entry]]) -> list[Verdict]:
    """Judge the claims; open without records of `needles`.

    Args:
        tasks: what each task tells.
        entries: runs by contestant.
    """
    task = next((task for task in tasks if task.board.task == TASK), None)

    def metric(router: str, name: str) -> BySeed:
        row = None if task is None else task.rows.get(router)
        if row is None:
            return {}
        counted = {identifier for _, identifier in row.runs[: len(row.values)]}
        return {
            entry.seed: entry.metrics[name][0]
            for entry in entries[row.key]
            if entry.id in counted and name in entry.metrics
        }

    return [_expert_choice(metric), _token_choice(metric), _soft(metric)]


def _expert_choice(metric: Metric) -> Verdict:
    gap = difference(metric("usmoe", SERVED), metric("expert_choice", SERVED))
    return Verdict(
        "Expert choice drops important tokens (USMoE).",
        "Share of needles that an expert serves, USMoE minus expert choice, paired by seed: above "
        "0 it holds, below it does not.",
        _sign(gap),
        _text(gap),
    )


def _token_choice(metric: Metric) -> Verdict:
    gap = difference(metric("usmoe", WORK), metric("token_choice", WORK))
    return Verdict(
        "Token choice chases irrelevant experts (USMoE).",
        "Share of the experts' work that is spent on needles, USMoE minus token choice, paired by "
        "seed: above 0 it holds, below it does not.",
        _sign(gap),
        _text(gap),
    )


def _soft(metric: Metric) -> Verdict:
    served = metric("soft", SERVED)
    gap = difference(metric("soft", LOSS), metric("expert_choice", LOSS))
    worst = min(served.values(), default=None)
    verdict = _sign(gap)
    if worst is not None and worst < 1:
        verdict = REFUTED
    elif worst is not None and verdict != OPEN:
        # a smaller loss is better, so that a gap above 0 is a loss in spite of serving all
        verdict = "holds to the letter alone" if verdict == HOLDS else HOLDS
    return Verdict(
        "Soft MoE drops nothing.",
        "It serves every needle in every run, else it does not hold; and its excess loss, minus "
        "that of expert choice, which drops tokens at the same work, paired by seed: above 0 it "
        "holds to the letter alone.",
        verdict,
        f"served {'?' if worst is None else f'{worst:.3g}'} in the worst run; {_text(gap)}",
    )


def _sign(gap: Estimate | None) -> str:
    """Return what the sign of a difference says, if it is significant."""
    if gap is None or gap.p is None or gap.p >= LEVEL / CLAIMS:
        return OPEN
    return HOLDS if gap.mean > 0 else REFUTED


def _text(gap: Estimate | None) -> str:
    if gap is None:
        return f"no runs of both on {TASK}"
    if gap.half is None:
        return f"{gap.mean:+.3g}, {gap.n} seeds of {ENOUGH} that are needed"
    p = "no spread" if gap.p is None else f"p = {gap.p:.2g}"
    return f"{gap.mean:+.3g} ±{gap.half:.2g}, {p}, {gap.n} seeds"
