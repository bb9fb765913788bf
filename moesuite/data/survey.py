"""What is shown of a task's data: read once, sampled where a split is large."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from typing import Any

from moesuite.data.duplicates import Repeats, repeats
from moesuite.data.figures import (
    Lengths,
    Pixels,
    Quantiles,
    label_counts,
    lengths,
    pixels,
    scores,
    spread,
)
from moesuite.preview import Example, Lazy, Preview
from moesuite.progress import track
from moesuite.task import ROLES, Task, task_class
from moesuite.train.build import declare_task


@dataclass(frozen=True)
class Split:
    """A split.

    Attributes:
        size: number of examples, of the test split of scored ones; None: of a stream.
        examples: the first readable ones.
        sampled: number of examples that figures of texts and pixels are of.
        unreadable: names of the unreadable ones of the sample.
        labels: number of examples by class.
        scores: of examples that have a score.
        lengths: of texts.
        pixels: of images.
        figures: others, by name.
        repeats: duplicates; None: not counted.
    """

    size: int | None
    examples: list[Example]
    sampled: int = 0
    unreadable: list[str] = field(default_factory=list)
    labels: dict[str, int] = field(default_factory=dict)
    scores: Quantiles | None = None
    lengths: Lengths | None = None
    pixels: Pixels | None = None
    figures: dict[str, int | float] = field(default_factory=dict)
    repeats: Repeats | None = None


@dataclass(frozen=True)
class Survey:
    """The data of a task.

    Attributes:
        task: its name.
        description: the data in one line.
        fingerprint: of the data.
        notes: what was taken for what, what is left out, what is held out.
        problems: what training refuses, a sentence each.
        unreadable: names of examples that are left out because they cannot be read.
        arguments: what the data sets for a backbone: classes, vocabulary, image size, length.
        mean: that the task subtracts from each channel.
        std: that the task divides each channel by.
        splits: by role: train, val, test.
        unit: what is compared for duplicates: examples, lines of a text.
    """

    task: str
    description: str
    fingerprint: str
    notes: list[str]
    problems: list[str]
    unreadable: list[str]
    arguments: dict[str, Any]
    mean: list[float]
    std: list[float]
    splits: dict[str, Split]
    unit: str = "examples"


def read_task(options: Mapping[str, Any]) -> Task:
    """Build a task from its resolved options and load its data, as it is previewed.

    Raises:
        UserError: for data that cannot be read.
    """
    changes = task_class(options["family"]).previewed
    task = declare_task({**options, **{key: changes[key] for key in changes if key in options}})
    task.previewing = True
    task.prepare()
    return task


def survey(task: Task, examples: int, sample: int | None, near: bool) -> Survey:
    """Read what is shown of a task.

    Args:
        task: with its data.
        examples: of each split to show, the first ones.
        sample: largest number of examples of a split that are decoded or tokenised; None: all.
        near: look for near-duplicates, too.
    """
    sizes, left_out = task.split_sizes(), list(task.unreadable)  # reading may add to the list
    shown: dict[str, Preview] = {
        role: task.preview(role) for role in ROLES if task.dataset(role) is not None
    }
    counted = repeats(task, shown, near)
    splits: dict[str, Split] = {
        role: _split(role, each, sizes.get(role), examples, sample, counted.get(role))
        for role, each in shown.items()
    }
    first = next(iter(shown.values()))
    return Survey(
        task.name,
        task.description,
        task.fingerprint,
        list(task.notes),
        list(task.problems),
        left_out,
        task.backbone_arguments(),
        list(first.mean),
        list(first.std),
        splits,
        task.unit,
    )


def _split(
    role: str,
    shown: Preview,
    size: int | None,
    examples: int,
    sample: int | None,
    counted: Repeats | None,
) -> Split:
    rows = shown.examples
    if not isinstance(rows, Lazy):
        return Split(None, list(islice(rows, examples)), figures=dict(shown.figures))
    indices, bad = spread(len(rows), sample), list[str]()
    first = list(islice(_readable(rows, range(len(rows)), []), max(1, examples)))
    sampled = _readable(rows, track(indices, f"reading {role}", len(indices)), bad)
    texts, images = None, None
    if first and first[0][1].image is None:
        texts = lengths(list(sampled), shown)
    else:
        images = pixels((each.image, each.mode) for _, each in sampled)
    return Split(
        len(rows) if size is None else size,
        [each for _, each in first[:examples]],
        len(indices),
        bad,
        label_counts(shown),
        scores(shown.labels),
        texts,
        images,
        dict(shown.figures),
        counted,
    )


def _readable(rows: Lazy, indices: Iterable[int], bad: list[str]) -> Iterator[tuple[int, Example]]:
    """Yield index and example, and add to `bad` what is said of unreadable ones."""
    for index in indices:
        try:
            example = rows[index]
        except OSError as error:
            bad.append(str(error))
        else:
            yield index, example


def plain(found: Survey) -> dict[str, Any]:
    """Return a survey as JSON has it: by attribute, images by size and mode."""
    shown = {
        role: [_plain(each) for each in split.examples] for role, split in found.splits.items()
    }
    splits = {role: replace(split, examples=[]) for role, split in found.splits.items()}
    values = asdict(replace(found, splits=splits))
    for role, examples in shown.items():
        values["splits"][role]["examples"] = examples
    return values


def _plain(example: Example) -> dict[str, Any]:
    image = example.image
    picture = {} if image is None else {"size": list(image.size), "mode": example.mode}
    return {"label": example.label, "texts": list(example.texts), **picture}
