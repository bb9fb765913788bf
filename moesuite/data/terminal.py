"""A survey in the terminal: tables, and thumbnails of half blocks where it shows colours."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from textwrap import indent

import numpy as np
from PIL.Image import Image
from rich import box
from rich.columns import Columns
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from moesuite.data.sheets import Sheet, caption, sheets
from moesuite.data.survey import Survey
from moesuite.preview import Example

SIDE = 24  # characters of a thumbnail's wider side; a character shows two pixels, one above another
HALF = "▀"


def show(survey: Survey, warnings: Sequence[str]) -> None:
    """Print a survey and its warnings."""
    console = Console(
        width=None if sys.stdout.isatty() else 140,
        highlight=False,
        soft_wrap=not sys.stdout.isatty(),
    )
    console.print(Text(f"{survey.task}: {survey.description}", style="bold"))
    console.print(Text(f"fingerprint {survey.fingerprint}"))
    for note in survey.notes:
        console.print(Text(f"note: {note}"))
    for sheet in sheets(survey):
        console.print(_table(sheet))
    if size := survey.arguments.get("vocab_size"):
        console.print(Text(f"vocabulary of the model: {size:,} tokens"))
    for role, split in survey.splits.items():
        console.print(Text(f"first examples of {role}", style="bold"))
        for line in _examples(split.examples, console.color_system == "truecolor"):
            console.print(line)
    for sentence in warnings:
        console.print(Text(f"warning: {sentence}", style="yellow"))


def _table(sheet: Sheet) -> Table:
    table = Table(title=sheet.title, box=box.SQUARE, title_justify="left")
    for place, heading in enumerate(sheet.headings):
        table.add_column(Text(heading), justify="right" if place else "left")
    for row in sheet.rows:
        table.add_row(*map(Text, row))
    return table


def _examples(examples: Sequence[Example], in_colour: bool) -> Iterator[RenderableType]:
    """Yield examples in words, or as thumbnails side by side."""
    pictures = [
        Group(thumbnail(each.image), Text(caption(each)))
        for each in examples
        if each.image is not None
    ]
    if pictures and in_colour:
        yield Padding(Columns(pictures, padding=(0, 2)), (0, 2))
    else:
        yield from (Text(indent(caption(each), "  ")) for each in examples)
    if not examples:
        yield Text("  none")


def thumbnail(image: Image) -> Text:
    """Return an image as half blocks: the colour of a character is its upper pixel's.

    The background is the colour of the lower pixel.
    """
    small = image.convert("RGB")
    small.thumbnail((SIDE, SIDE))
    pixels = np.asarray(small)
    if len(pixels) % 2:
        pixels = np.concatenate([pixels, pixels[-1:]])
    text = Text()
    for upper, lower in zip(pixels[::2], pixels[1::2], strict=True):
        for above, below in zip(upper, lower, strict=True):
            text.append(HALF, style=f"rgb{_colour(above)} on rgb{_colour(below)}")
        text.append("\n")
    text.rstrip()
    return text


def _colour(pixel: np.ndarray) -> str:
    return f"({','.join(map(str, pixel.tolist()))})"
