"""What each router is good and bad at: one paragraph of numbers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from moesuite.leaderboard.separation.task import Part, TaskResult, part_of

WORDS: dict[Part, str] = {
    "first": "in the first tie group on",
    "last": "in the last on",
    "between": "between on",
    "alike": "no router separates on",
}


def portraits(tasks: Sequence[TaskResult]) -> Iterator[str]:
    """Yield a paragraph for each router, by name."""
    for router in sorted({name for task in tasks for name in task.values}):
        yield f"**{router}**: {portrait(tasks, router)}"


def portrait(tasks: Sequence[TaskResult], router: str) -> str:
    """Return what the tasks tell of one router: good, bad, between, undecided, missing."""
    parts = defaultdict[Part, list[str]](list)
    for task in tasks:
        if router in task.values:
            parts[part_of(task, router)].append(_figures(task, router))
    sentences = [f"{where} {', '.join(parts[key])}" for key, where in WORDS.items() if parts[key]]
    missing = [task.board.task for task in tasks if router not in task.values]
    if missing:
        sentences.append(f"no result on {', '.join(missing)}")
    return "; ".join(sentences) + "."


def _figures(task: TaskResult, router: str) -> str:
    """Return name, quality, distance to the optimum, group and place on one task."""
    mean, optimum = task.mean(router), task.optimum
    half = task.rows[router].half
    quality = f"{mean:.3g}" + ("" if half is None else f" ±{half:.2g}")
    parts = [quality]
    if optimum is not None:
        parts.append(f"{abs(mean - optimum):.3g} from the optimum")
    if task.number_of_groups > 1:
        parts.append(f"group {task.groups[router]} of {task.number_of_groups}")
    parts.append(f"place {task.places[router]} of {len(task.values)}")
    return f"{task.board.task} ({', '.join(parts)})"
