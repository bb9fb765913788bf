"""How many examples are evaluated at once."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from moesuite import compose
from moesuite.compute import memory
from moesuite.compute.memory import examples_that_fit
from moesuite.compute.timing import CPU
from moesuite.train.fit import Run
from tests.tasks.local_data import BYTES, TINY_BERT, search_folder


def test_half_of_the_free_memory_is_shared_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory.psutil, "virtual_memory", lambda: SimpleNamespace(available=10_000))
    assert (
        examples_that_fit(99.0, 0.0, CPU) == 50
    )  # 99 bytes kept, and one so that nothing is never divided by
    assert examples_that_fit(59.0, 10.0, CPU) == 50  # four copies of the output
    assert examples_that_fit(99.0, 0.0, CPU, processes=2) == 25
    assert examples_that_fit(1e9, 0.0, CPU) == 1


@pytest.mark.parametrize("task", ["digits", "stdlib_search"])
def test_a_run_evaluates_fewer_at_once_where_memory_is_short(
    task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = (
        [f"task.source={search_folder(tmp_path / 'data')}", *TINY_BERT, *BYTES]
        if task == "stdlib_search"
        else []
    )
    run = Run(compose(f"task={task}", f"records={tmp_path}", "logger=none", *texts), "")
    run.build()
    assert run.data.eval_batch_size == run.config.data.eval_batch_size
    free = int(100 * run.expected.activation_bytes)
    monkeypatch.setattr(memory.psutil, "virtual_memory", lambda: SimpleNamespace(available=free))
    run.build()
    assert 1 < run.data.eval_batch_size <= 50
