"""Sources of data: a hub id at a pinned revision, or files and folders as people have them.

Each is read as a `Source`: rows of Hugging Face `datasets` for each role, with undecoded images,
and a fingerprint: the revision for a hub id, SHA-256 over contents for what is on disk.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from moesuite.config.options import as_path
from moesuite.errors import UserError
from moesuite.sources.hub import load_hub, own_choice
from moesuite.sources.local import TABLES_ONLY, load_local
from moesuite.sources.local import Readable as Readable
from moesuite.sources.local import Source as Source
from moesuite.sources.roles import scored_split

HOLD_OUT = 0.1  # share held out for testing of a source without a test split


@dataclass(frozen=True)
class HubSource:
    """A data set of the Hugging Face hub, or data of your own.

    Attributes:
        hub: id of the data set on the Hugging Face hub, owner/name.
        revision: commit of the hub id; null: the newest, whose commit is recorded.
        source: folder, file or hub id to read instead.
    """

    hub: str | None = None
    revision: str | None = None
    source: str | None = None

    def __post_init__(self) -> None:
        """Refuse an empty source, which would be the current folder."""
        if self.source is not None and not self.source.strip():
            raise UserError(
                "task.source is empty; expected a folder, a file or a hub id; type for example "
                "task.source=data/my_data, or task.source=. for this folder"
            )

    def load(
        self,
        splits: Mapping[str, str],
        config: str | None = None,
        streaming: bool = False,
        readable: Readable = TABLES_ONLY,
    ) -> Source:
        """Load the data.

        Args:
            splits: declared name of each role's split, e.g. {train: train, test: validation}.
            config: name of the configuration on the hub, or of a folder of the source.
            streaming: read over the network while training, without a copy on disk.
            readable: what the family can read.

        Raises:
            UserError: for a source that does not exist, is empty, cannot be reached, or holds
                something else.
        """
        if self.source is None:
            if self.hub is None:
                raise UserError(
                    "this task has no hub id: give its data, for example task.source=<folder>"
                )
            loaded, commit = load_hub(self.hub, self.revision, config, splits, streaming)
            return Source(loaded, f"{self.hub}@{commit}", f"hub {self.hub}, revision {commit}")
        path = as_path(self.source)
        if path.exists():
            return with_test(load_local(path, splits, config, streaming, readable))
        if self.source.startswith((".", "/", "~")) or self.source.count("/") != 1:
            raise UserError(
                f"task.source={self.source} does not exist; expected {readable.words}, or a hub id "
                "owner/name; type for example task.source=data/my_data"
            )
        config, chosen = own_choice(self.source, config, splits, readable.test_only)
        loaded, commit = load_hub(self.source, None, config, chosen, streaming)
        about = f"hub {self.source}, revision {commit}"
        notes = tuple(scored_split(chosen, splits))
        return with_test(Source(loaded, f"{self.source}@{commit}", about, notes))


def with_test(source: Source) -> Source:
    """Hold out a fixed tenth for testing where the source has no test split."""
    splits = source.splits
    if "test" in splits or not hasattr(splits["train"], "train_test_split"):
        return source
    if len(splits["train"]) < 2:
        raise UserError(f"{source.description} has one row; expected at least 2: one is held out")
    parts = splits["train"].train_test_split(test_size=HOLD_OUT, seed=0)
    return replace(
        source,
        splits={**splits, "train": parts["train"], "test": parts["test"]},
        description=f"{source.description}, a tenth of the training split held out",
    )
