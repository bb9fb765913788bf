"""Words of short comparison runs."""

from __future__ import annotations

SMALL = [
    "task=backgammon",
    "task.positions=60",
    "task.test_positions=12",
    "task.test_plies=0",
    "backbone.kwargs.hidden_size=16",
    "backbone.kwargs.intermediate_size=32",
]
QUICK = ["measure=false", "logger=none", "trainer.enable_progress_bar=false", "trainer.max_steps=3"]
