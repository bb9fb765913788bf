"""Data sets of the Hugging Face hub: pinned revisions, the cache where there is no network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from moesuite.errors import UserError
from moesuite.sources.cache import load_rows
from moesuite.sources.roles import check_declared, choose


def load_hub(
    hub: str,
    revision: str | None,
    config: str | None,
    splits: Mapping[str, str],
    streaming: bool,
) -> tuple[dict[str, Any], str | None]:
    """Return the rows of each role, and the commit that was read.

    Args:
        hub: id of the data set, owner/name.
        revision: commit; None: the newest.
        config: name of the configuration.
        splits: name of each role's split.
        streaming: read over the network while training.

    Raises:
        UserError: if it does not exist, is gated, cannot be reached, or lacks a split.
    """
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
        raise _refused(hub, error) from None
    except (OSError, ConnectionError, datasets.exceptions.DatasetsError, RuntimeError) as error:
        raise UserError(_unreachable(hub, error)) from None
    except ValueError as error:  # an unknown split or configuration
        raise UserError(f"{hub}: {str(error).splitlines()[0]}") from None
    return loaded, revision


def own_choice(
    hub: str, config: str | None, splits: Mapping[str, str], test_only: bool = False
) -> tuple[str | None, dict[str, str]]:
    """Return the configuration and the splits to read of a data set that no task declares.

    The task's configuration is read where the data set has it, and splits by their usual names.

    Args:
        hub: id of the data set.
        config: configuration that the task declares.
        splits: name of each role's split that the task declares.
        test_only: whether a test split will do, without one for training.
    """
    import datasets

    try:
        configs = datasets.get_dataset_config_names(hub)
        config = config if config in configs else None
        names = datasets.get_dataset_split_names(hub, config or configs[0])
    except Exception:  # whatever is wrong, loading reports it
        return config, dict(splits)
    check_declared(names, splits, f"task.source={hub}")
    chosen = {role: choices[0] for role, choices in choose(names, splits).items()}
    if not chosen or ("train" in splits and "train" not in chosen and not test_only):
        return config, dict(splits)  # loading reports the splits that are there
    return config, chosen


def _resolve(hub: str, revision: str | None) -> str | None:
    """Return the commit to read, for the record; switch to the cache if the hub is unreachable."""
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return huggingface_hub.HfApi().dataset_info(hub, revision=revision, timeout=10).sha
    except HfHubHTTPError:  # the hub answers, but with an error: loading will report it
        return revision
    except Exception:  # whatever the HTTP client of this version raises without a network
        _read_cache_alone()
        return revision


def offline_if_unreachable(model: str) -> None:
    """Switch to the cache if the hub is unreachable, which loaders of models try for a minute.

    Args:
        model: hub id that will be loaded.
    """
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError

    try:
        huggingface_hub.HfApi().model_info(model, timeout=10)
    except (HfHubHTTPError, ValueError):  # the hub answers, or it is no id: loading will report it
        return
    except Exception:  # whatever the HTTP client of this version raises without a network
        _read_cache_alone()


def _read_cache_alone() -> None:
    import datasets
    import huggingface_hub

    huggingface_hub.constants.HF_HUB_OFFLINE = datasets.config.HF_HUB_OFFLINE = True


def _refused(hub: str, error: Exception) -> UserError:
    from huggingface_hub.errors import GatedRepoError

    if "gated" in str(error).lower() or isinstance(error, GatedRepoError):
        return UserError(
            f"{hub} is gated: accept its terms at https://huggingface.co/datasets/{hub}, then "
            "`hf auth login` (or set HF_TOKEN) and run again; or "
            "task.source=<folder> with your own copy"
        )
    return UserError(
        f"{hub}: no such data set on the hub, or private; type for example task.source=<folder>"
    )


def _unreachable(hub: str, error: Exception) -> str:
    return (
        f"{hub}: not in the cache and the hub cannot be reached ({type(error).__name__}); three "
        "ways to supply it: (1) run once where there is a network, then copy the folder of HF_HOME "
        "(~/.cache/huggingface) here; (2) task.source=<folder> with your own copy; (3) set "
        "HF_ENDPOINT to a mirror, or task.source=owner/name of a copy that you can reach"
    )
