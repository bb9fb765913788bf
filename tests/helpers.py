"""Shared by tests of several rooms: short runs, the command line in this process, waiting."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from moesuite import compose, fit
from moesuite.records.record import RunRecord
from moesuite.run import main

SHORT = ("trainer.max_steps=4", "measure=false", "logger=none", "trainer.enable_progress_bar=false")
TINY_RUN = (
    "trainer.max_steps=2",
    "measure=false",
    "logger=none",
    "trainer.enable_progress_bar=false",
    "backbone.kwargs.embed_dim=16",
    "data.batch_size=256",
)
MY_ROUTER = '''
"""First come: the first slots_per_token · T tokens, dealt out to the experts in turn."""
import torch
from moesuite import Router, SlotRouting

class MyRouter(Router):
    paper = "None: an example"
    causal = True

    def __init__(self, spec, gain: float = 1.0):
        super().__init__(spec)
        self.weight = torch.nn.Parameter(torch.tensor(gain))

    def forward(self, x, mask=None):
        groups, length, _ = x.shape
        capacity = self.capacity(length)
        index = torch.arange(capacity * self.spec.num_experts)
        tokens = index.reshape(capacity, -1).t()
        tokens = tokens.masked_fill(tokens >= length, -1)
        tokens = tokens.expand(groups, -1, -1)
        return SlotRouting(tokens, self.weight * (tokens >= 0), length)
'''


def run(tmp_path: Path, *words: str) -> RunRecord:
    return fit(compose(*SHORT, f"records={tmp_path / 'runs'}", *words))[0]


def exit_code(monkeypatch: pytest.MonkeyPatch, main: Callable[[], None], *words: str) -> int:
    """Run the `main` of a command in this process and return its exit code."""
    monkeypatch.setattr(sys, "argv", ["command", *words])
    try:
        main()
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def invoke(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    """Run `python -m moesuite.run` in this process and return its exit code."""
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    return exit_code(monkeypatch, main, *words)


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[Any] | None = None) -> None:
    for _ in range(1200):
        if condition():
            return
        assert process is None or process.poll() is None, process.communicate()
        time.sleep(0.1)
    pytest.fail("waited in vain")


def long_except(names: Iterable[str], *quick: str) -> list[Any]:
    """Return parameters of a test that is long for all names but a few."""
    slow = pytest.mark.slow
    return [name if name in quick else pytest.param(name, marks=slow) for name in names]
