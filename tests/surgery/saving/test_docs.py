"""The example of `docs/saving.md` does what it says."""

from __future__ import annotations

import re
from typing import Any

from tests.conftest import ROOT


def test_the_example_runs() -> None:
    text = (ROOT / "docs" / "saving.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)
    assert names["model"].global_pool == "avg" and not names["model"].training
