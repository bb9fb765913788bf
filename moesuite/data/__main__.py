"""Show how a source of data is read for a task, without training.

    python -m moesuite.data task=fashion_mnist source=path/to/folder
    python -m moesuite.data task=wikitext2 source=path/to/folder examples=5 html=data.html
    python -m moesuite.data task=text_classification source=path/to/folder near=true format=json

Splits with their counts, first examples, labels, duplicates within a split and across splits, texts
that are cut, sizes and colours of images, unreadable files; and warnings in words. Nothing is
changed; an unreadable file is named and stops nothing. Takes the options of the task
(task.<option>=; of the backbone, task.tokenizer may follow). Of large splits the figures of texts
and pixels are of a sample; labels and duplicates are counted whole. Of a stream the first examples
are shown and nothing is counted.
"""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveInt

from moesuite.config.cli import Options, Rest, importing, run_command
from moesuite.config.compose import compose
from moesuite.config.options import word
from moesuite.errors import UserError, refuse_unwritable

if TYPE_CHECKING:
    from moesuite.data.survey import Survey


class DataOptions(Options):
    """Options of the command."""

    source: str | None = Field(
        None,
        examples=["my_folder"],
        description="folder, file or hub id to read: short for task.source=; null: the task's own",
    )
    examples: NonNegativeInt = Field(
        3, description="examples of each split to show, the first ones"
    )
    sample: PositiveInt | None = Field(
        2000,
        description="examples of a split that are decoded or tokenised for figures; null: all",
    )
    near: bool = Field(False, description="look for near-duplicates of training examples, too")
    format: Literal["table", "json"] = Field("table", description="how it is printed")
    html: Path | None = Field(
        None, examples=["data.html"], description="file for a page with thumbnails, of one piece"
    )
    cards: Path | None = Field(
        None,
        examples=["docs/tasks.md"],
        description="only write the data cards of the package's tasks to this file",
    )
    run: Annotated[list[str], Rest("option=value of python -m moesuite.run")] = Field(
        [], description="task=<name> and its options; default: task=digits"
    )


def show_data(options: DataOptions) -> None:
    """Print how data is read, and write the page; or only write the data cards."""
    if options.cards is not None:
        from moesuite.data.cards import write_cards

        refuse_folder("cards", options.cards, "tasks.md")
        write_cards(options.cards)
        return
    refuse_folder("html", options.html, "data.html")
    config = compose(*words_of_run(options))
    with importing():
        from moesuite.data.cautions import cautions
        from moesuite.data.survey import read_task, survey
    surveyed = survey(read_task(config.task), options.examples, options.sample, options.near)
    print_survey(surveyed, cautions(surveyed), options)


def refuse_folder(option: str, path: Path | None, name: str) -> None:
    """Raise `UserError` if what is to be written is a folder, or in one that is not writable."""
    if path is None:
        return
    if path.is_dir():
        example = shlex.quote(f"{option}={path / name}")
        raise UserError(f"{option}={path} is a folder; expected a file; type for example {example}")
    refuse_unwritable(path.parent, f"{option}={path}")


def words_of_run(options: DataOptions) -> list[str]:
    """Return the words that configure the task.

    Raises:
        UserError: for a source without a task.
    """
    if options.source is None:
        return options.run
    if not any(each.startswith("task=") for each in options.run):
        raise UserError(
            f"source={options.source}: for which task? Type for example task=imagenet "
            f"source={options.source}; all tasks: moesuite list tasks"
        )
    return [*options.run, f"task.source={word(options.source)}"]


def print_survey(survey: Survey, warnings: list[str], options: DataOptions) -> None:
    """Print what is found, and write the page if one is wanted."""
    from moesuite.data.page import write_page
    from moesuite.data.survey import plain
    from moesuite.data.terminal import show

    if options.html is not None:
        write_page(survey, warnings, options.html)
    if options.format == "json":
        print(json.dumps({**plain(survey), "warnings": warnings}, indent=1, ensure_ascii=False))
    else:
        show(survey, warnings)


def main() -> None:
    """Run the command line; exits with 2 for bad input."""
    run_command(show_data, DataOptions, __doc__)


if __name__ == "__main__":
    main()
