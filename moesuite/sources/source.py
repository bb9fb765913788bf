"""Sources of data: a hub id at a pinned revision, parquet files, or an ImageFolder tree.

Each is read as a `Source`: splits as Hugging Face `Dataset`s with undecoded images, and a
fingerprint: the revision for a hub id, SHA-256 over contents for parquet, SHA-256 over paths and
sizes for image trees (whose contents may be hundreds of GB).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from moesuite.errors import UserError
from moesuite.sources.cache import load_rows

HOLD_OUT = 0.1  # share held out for testing of a source without a test split


@dataclass(frozen=True)
class Source:
    """Data as read.

    Attributes:
        splits: by role: train, test, and val where there is one.
        fingerprint: of what was read.
        description: one line for the record.
        notes: what a reader has to know, a sentence each: what was taken for what, what is left
            out, what is held out.
    """

    splits: Mapping[str, Any]
    fingerprint: str
    description: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class HubSource:
    """A data set of the Hugging Face hub, or a copy of it.

    Attributes:
        hub: id of the data set on the Hugging Face hub, owner/name.
        revision: commit of the hub id; null: the newest, whose commit is recorded.
        source: folder, file or hub id to read instead.
    """

    hub: str | None = None
    revision: str | None = None
    source: str | None = None

    def load(
        self, splits: Mapping[str, str], config: str | None = None, streaming: bool = False
    ) -> Source:
        """Load the data; see `load_source`."""
        return load_source(self.source, self.hub, self.revision, config, splits, streaming)


def load_source(
    source: str | None,
    hub: str | None,
    revision: str | None,
    config: str | None,
    splits: Mapping[str, str],
    streaming: bool = False,
) -> Source:
    """Load a data set.

    Args:
        source: folder, file, or hub id of the user; None: `hub`.
        hub: hub id of the task.
        revision: commit of the task's hub id; None: the newest, whose commit is recorded.
        config: name of the data set's configuration on the hub.
        splits: name of each role's split on the hub and in file names, for example {train: train,
            test: validation}.
        streaming: read over the network while training, without a copy on disk.

    Raises:
        UserError: for a source that does not exist, is empty, or cannot be reached.
    """
    if source is None:
        if hub is None:
            raise UserError(
                "this task has no hub id: give its data, for example task.source=<folder>"
            )
        return _from_hub(hub, revision, config, splits, streaming)
    path = Path(source).expanduser()
    if path.is_dir():
        parquet = sorted(path.rglob("*.parquet"))
        if parquet:
            return _from_parquet(path, parquet, splits, streaming)
        return _from_images(path, splits)
    if path.is_file() and path.suffix == ".parquet":
        return _from_parquet(path.parent, [path], {"train": path.stem.split("-")[0]}, streaming)
    if path.exists() or source.startswith((".", "/", "~")) or source.count("/") != 1:
        state = "is not a folder or parquet file" if path.exists() else "does not exist"
        raise UserError(
            f"task.source={source} {state}; expected an ImageFolder tree, a folder of parquet "
            "files, a parquet file, or a hub id owner/name; type for example "
            "task.source=data/my_images"
        )
    return _from_hub(source, None, None, splits, streaming)


def _from_hub(
    hub: str, revision: str | None, config: str | None, splits: Mapping[str, str], streaming: bool
) -> Source:
    import datasets
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    revision = _resolve(hub, revision)
    try:
        loaded = {
            role: load_rows(hub, config, split=split, revision=revision, streaming=streaming)
            for role, split in splits.items()
        }
    except (
        GatedRepoError,
        datasets.exceptions.DatasetNotFoundError,
        RepositoryNotFoundError,
    ) as error:
        if "gated" in str(error).lower() or isinstance(error, GatedRepoError):
            raise UserError(
                f"{hub} is gated: accept its terms at https://huggingface.co/datasets/{hub}, then "
                "`hf auth login` (or set HF_TOKEN) and run again; or "
                "task.source=<ImageFolder or parquet folder> with your own copy"
            ) from None
        raise UserError(
            f"{hub}: no such data set on the hub, or private; type for example task.source=<folder>"
        ) from None
    except (OSError, ConnectionError, datasets.exceptions.DatasetsError, RuntimeError) as error:
        raise UserError(_unreachable(hub, error)) from None
    except ValueError as error:  # an unknown split or configuration
        raise UserError(f"{hub}: {str(error).splitlines()[0]}") from None
    return Source(loaded, f"{hub}@{revision}", f"hub {hub}, revision {revision}")


def _resolve(hub: str, revision: str | None) -> str | None:
    """Return the commit to read, for the record; switch to the cache if the hub is unreachable."""
    import datasets
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return huggingface_hub.HfApi().dataset_info(hub, revision=revision, timeout=10).sha
    except HfHubHTTPError:  # the hub answers, but with an error: loading will report it
        return revision
    except Exception:  # whatever the HTTP client of this version raises without a network
        huggingface_hub.constants.HF_HUB_OFFLINE = datasets.config.HF_HUB_OFFLINE = True
        return revision


def _unreachable(hub: str, error: Exception) -> str:
    return (
        f"{hub}: not in the cache and the hub cannot be reached ({type(error).__name__}); three "
        "ways to supply it: (1) run once where there is a network, then copy the folder of HF_HOME "
        "(~/.cache/huggingface) here; (2) task.source=<ImageFolder tree or folder of parquet "
        "files>; (3) set HF_ENDPOINT to a mirror, or task.source=owner/name of a copy that you can "
        "reach"
    )


def _from_parquet(
    folder: Path, files: list[Path], splits: Mapping[str, str], streaming: bool
) -> Source:
    import datasets

    by_role: dict[str, list[str]] = {}
    for role, split in splits.items():
        names = [
            str(file) for file in files if split in (file.stem.split("-")[0], file.parent.name)
        ]
        if names:
            by_role[role] = names
    needed = "train" if "train" in splits else "test"  # some data sets are for testing only
    if needed not in by_role:
        raise UserError(
            f"task.source={folder}: no parquet file of the split {splits[needed]!r} among "
            f"{', '.join(file.name for file in files[:5])}; name them {splits[needed]}.parquet or "
            f"{splits[needed]}-*.parquet"
        )
    try:
        loaded = {
            role: load_rows("parquet", data_files=names, split="train", streaming=streaming)
            for role, names in by_role.items()
        }
    except (datasets.exceptions.DatasetGenerationError, OSError) as error:
        raise UserError(
            f"task.source={folder}: unreadable parquet: {error.__cause__ or error}"
        ) from None
    except ValueError as error:
        raise UserError(
            f"task.source={folder}: a split is empty ({error}); expected at least one row"
        ) from None
    digest = hashlib.sha256()
    for name in sorted(chain.from_iterable(by_role.values())):
        with Path(name).open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    description = f"parquet files of {folder.name}"
    return Source(_with_test(loaded), f"sha256:{digest.hexdigest()}", description)


def _from_images(folder: Path, splits: Mapping[str, str]) -> Source:
    import datasets
    from torchvision.datasets import ImageFolder

    roots = {role: folder / split for role, split in splits.items() if (folder / split).is_dir()}
    roots = roots if "train" in roots else {"train": folder}
    digest, loaded = hashlib.sha256(), {}
    classes: list[str] | None = None
    for role, root in roots.items():
        try:
            tree = ImageFolder(str(root), loader=str, allow_empty=True)
        except FileNotFoundError:
            tree = None
        if tree is None or not tree.samples:
            raise UserError(
                f"task.source={root} is empty: no images in class folders; expected "
                f"<folder>/<class>/<image>, or the same under {splits['train']}/ and "
                f"{splits.get('test', 'test')}/"
            )
        if classes is not None and tree.classes != classes:
            raise UserError(
                f"task.source={folder}: the class folders of {root.name} differ from those of the "
                "training split"
            )
        classes = tree.classes
        for path, _ in tree.samples:
            digest.update(f"{os.path.relpath(path, folder)} {Path(path).stat().st_size}\n".encode())
        columns = {
            "image": [path for path, _ in tree.samples],
            "label": [label for _, label in tree.samples],
        }
        features = datasets.Features(
            {"image": datasets.Image(), "label": datasets.ClassLabel(names=classes)}
        )
        loaded[role] = datasets.Dataset.from_dict(columns, features=features)
    return Source(_with_test(loaded), f"paths:{digest.hexdigest()}", f"image tree {folder.name}")


def _with_test(splits: dict[str, Any]) -> dict[str, Any]:
    """Hold out a fixed tenth for testing where the source has no test split."""
    if "test" in splits or not hasattr(splits["train"], "train_test_split"):
        return splits
    parts = splits["train"].train_test_split(test_size=HOLD_OUT, seed=0)
    return {**splits, "train": parts["train"], "test": parts["test"]}
