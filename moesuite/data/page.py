"""A survey as one HTML file that loads nothing: tables, texts, thumbnails as data URIs."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from jinja2 import Environment
from PIL.Image import Image

from moesuite.data.sheets import caption, sheets
from moesuite.data.survey import Survey
from moesuite.records.store import atomic

SIDE = 160  # largest side of a thumbnail in pixels


def write_page(survey: Survey, warnings: Sequence[str], path: Path) -> None:
    """Write the page.

    Args:
        survey: what is shown.
        warnings: sentences.
        path: file to write, whole or not at all.
    """
    template = resources.files("moesuite.data").joinpath("page.html").read_text(encoding="utf-8")
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    html = environment.from_string(template).render(
        survey=survey, warnings=warnings, sheets=sheets(survey), caption=caption, uri=uri
    )
    with atomic(path) as part:
        part.write_text(html, encoding="utf-8")


def uri(image: Image) -> str:
    """Return an image as a data URI, scaled down to at most `SIDE` pixels a side."""
    small, stream = image.copy(), io.BytesIO()
    small.thumbnail((SIDE, SIDE))
    small.save(stream, "png")
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}"
