"""Tasks and benchmarks of mteb, run by it: https://github.com/embeddings-benchmark/mteb."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moesuite.task import Lines, UserError, atomic, unknown
from moesuite.tasks.embeddings.mteb_examples import scored_examples
from moesuite.tasks.embeddings.pairs import Example, Reading
from moesuite.tasks.text.local_copies import local_copy

SAMPLE = 64  # texts that costs are measured on
BATCH = 128  # texts that are embedded together
Encode = Callable[[list[str]], NDArray[np.float32]]


class Mteb:
    """Tasks by name.

    Args:
        names: names of tasks or of benchmarks.
        source: folder with a folder for each task, laid out as on the hub; None: the hub, at mteb's
            pinned revisions.
    """

    def __init__(self, names: Sequence[str], source: str | None) -> None:
        self.names = names
        self.source = source
        self._tasks: list[Any] = []

    def read(self) -> Reading:
        """Load the data of all tasks.

        Raises:
            UserError: if mteb is not installed, for a name that it does not know, or data that
                cannot be loaded.
        """
        self._tasks = list(chain.from_iterable(_named(name) for name in self.names))
        if not self._tasks:
            raise UserError(
                "task.names is empty; expected tasks or benchmarks of mteb; type for example "
                "task.names=[STSBenchmark]"
            )
        digest = hashlib.sha256()
        for task in self._tasks:
            declared = dict(task.metadata.dataset)
            if self.source is not None:
                folder = local_copy(
                    self.source, task.metadata.name, declared["path"], len(self._tasks) == 1
                )
                task.metadata = task.metadata.model_copy(
                    update={"dataset": {**declared, "path": folder}}
                )
                for file in sorted(path for path in Path(folder).rglob("*") if path.is_file()):
                    digest.update(hashlib.sha256(file.read_bytes()).digest())
            digest.update(f"{task.metadata.name} {declared}\n".encode())
            _load(task)
        import mteb

        texts = list(islice(_texts(self._tasks[0].dataset), SAMPLE))
        names = [task.metadata.name for task in self._tasks]
        about = f"{', '.join(names)} of mteb {mteb.__version__}"
        examples = [Example((text,), float(row)) for row, text in enumerate(texts)]
        sizes = dict(zip(names, map(scored_examples, self._tasks), strict=True))
        return Reading({"test": examples}, names, f"sha256:{digest.hexdigest()}", about, sizes)

    def scores(self, encode: Encode, folder: Path) -> dict[str, float]:
        """Run all tasks, write mteb's own JSON, and return each main score and their mean.

        Args:
            encode: texts -> vectors [N, D].
            folder: folder for the JSON files; made if it is missing.
        """
        import mteb

        each = {}
        for number, task in enumerate(self._tasks, start=1):
            of = f"{task.metadata.name}, {number} of {len(self._tasks)} tasks"
            encoder = _encoder(encode, Lines(of, unit="texts"))
            (result,) = mteb.evaluate(encoder, task, cache=None, co2_tracker=False).task_results
            with atomic(folder / f"{task.metadata.name}.json") as part:
                result.to_disk(part)
            each[task.metadata.name] = float(result.get_score())
        return {"main_score": float(np.mean(list(each.values()))), **each}


def _named(name: str) -> Sequence[Any]:
    """Return the task of a name, or the tasks of a benchmark.

    Raises:
        UserError: for a name that is neither, with the nearest names.
    """
    try:
        import mteb
    except ImportError:
        raise UserError(
            "task=mteb needs the mteb package; type pip install 'moesuite[embeddings]'"
        ) from None
    benchmarks = {benchmark.name: benchmark for benchmark in mteb.get_benchmarks()}
    if name in benchmarks:
        return benchmarks[name].tasks
    try:
        return [mteb.get_task(name)]
    except KeyError:
        known = [*benchmarks, *(task.metadata.name for task in mteb.get_tasks())]
        raise unknown(
            "name of mteb's tasks and benchmarks", name, known, "task.names=[STSBenchmark]"
        ) from None


def _load(task: Any) -> None:
    import datasets

    try:
        task.load_data()
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        path = task.metadata.dataset["path"]
        raise UserError(
            f"{task.metadata.name}: {path} cannot be loaded ({type(error).__name__}); run once "
            "where there is a network and copy the cache of HF_HOME, or type "
            f"task.source=<folder with a folder {task.metadata.name}>"
        ) from None


def _encoder(encode: Encode, lines: Lines) -> Any:
    """Return an encoder with mteb's interface, which tells how many texts it has embedded."""
    from mteb.models import ModelMeta
    from mteb.models.abs_encoder import AbsEncoder
    from mteb.models.model_meta import ScoringFunction

    class Encoder(AbsEncoder):
        """Embeds batches of texts."""

        def __init__(self) -> None:
            about = {"name": "moesuite/encoder", "similarity_fn_name": ScoringFunction.COSINE}
            self.mteb_model_meta = ModelMeta.create_empty(about)
            self.done = 0

        def encode(self, inputs: Any, **_: Any) -> NDArray[np.float32]:
            texts = list(chain.from_iterable(batch["text"] for batch in inputs))
            order = sorted(range(len(texts)), key=lambda index: len(texts[index]))  # little padding
            parts = [order[begin : begin + BATCH] for begin in range(0, len(order), BATCH)]
            vectors = []
            for part in parts:
                vectors.append(encode([texts[index] for index in part]))
                self.done += len(part)
                lines.count(self.done)
            return np.concatenate(vectors)[np.argsort(order)]

    return Encoder()


def _texts(data: Any) -> Iterator[str]:
    """Yield the sentences of a data set, however nested."""
    if isinstance(data, str):
        if " " in data:
            yield data
    elif isinstance(data, Mapping):
        yield from chain.from_iterable(map(_texts, data.values()))
    elif hasattr(data, "column_names") or isinstance(data, list):
        yield from chain.from_iterable(map(_texts, data))
