"""Shared fixtures: where real data is, and how commands are run."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import jaxtyping
import pytest

if (
    "PYTEST_XDIST_WORKER" in os.environ
):  # one thread for each of several processes, before torch is imported
    os.environ.setdefault("OMP_NUM_THREADS", "1")

ROOT = Path(__file__).parents[1]


def pytest_configure(config: pytest.Config) -> None:
    """Hide GPUs from all but `-m gpu`.

    On a CPU results repeat to the last bit, which many tests are about.
    """
    if "gpu" not in config.option.markexpr:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep decoded images out of the user's cache."""
    monkeypatch.setenv("MOESUITE_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(autouse=True)
def checked_types(request: pytest.FixtureRequest) -> Iterator[None]:
    """Check types and shapes of every call in the first case of each test that is not long.

    They take half of the time of tests, and further cases call the same functions.
    """
    is_long = request.node.get_closest_marker("slow") is not None
    case = getattr(request.node, "callspec", None)
    is_first = case is None or not any(case.indices.values())
    jaxtyping.config.update("jaxtyping_disable", is_long or not is_first)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Return the folder of real data sets.

    It is $MOESUITE_DATA, else `data` or `shared/data` beside the checkout.
    """
    given = os.environ.get("MOESUITE_DATA")
    for folder in (
        [Path(given)] if given else [ROOT.parent / "shared" / "data", ROOT.parent / "data"]
    ):
        if folder.is_dir():
            return folder
    if os.environ.get("MOESUITE_REQUIRE_DATA") == "1":
        pytest.fail("MOESUITE_REQUIRE_DATA=1, but there is no folder of real data")
    pytest.skip("no folder of real data: set MOESUITE_DATA (see CONTRIBUTING.md)")


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """Return a function that runs `python -m <module> <words>` in an empty folder."""

    def run(module: str, *words: str, **options: object) -> subprocess.CompletedProcess[str]:
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": "2",
            "COLUMNS": "200",
            **options.pop("env", {}),
        }  # type: ignore[dict-item]
        return subprocess.run(
            [sys.executable, "-m", module, *words],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
            **options,  # type: ignore[call-overload]
        )

    return run
