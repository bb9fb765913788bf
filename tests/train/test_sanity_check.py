"""Lightning's first look at two batches of evaluation stops no run."""

from __future__ import annotations

from pathlib import Path

from tests.helpers import run
from tests.tasks.local_data import BYTES, TINY_BERT, parquet


def test_the_first_batches_may_hold_no_scored_example(tmp_path: Path) -> None:
    """The shortest texts come first, here those that a probe is fitted on."""
    texts = {
        "train": {"text": [f"a {n}" for n in range(8)], "label": [0, 1] * 4},
        "test": {"text": [f"a much longer text {n}" for n in range(4)], "label": [0, 1] * 2},
    }
    folder = parquet(tmp_path / "Emotion", **texts)
    record = run(
        tmp_path,
        "task=text_classification",
        f"task.source={folder.parent}",
        "task.names=[Emotion]",
        "data.eval_batch_size=2",
        "data.batch_size=4",
        *TINY_BERT,
        *BYTES,
    )
    assert record.quality["accuracy"].n == 4
