"""Records come from folders and addresses."""

from __future__ import annotations

import functools
import http.server
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from moesuite.leaderboard.site.build import build
from tests.leaderboard.boards import contents, example, put
from tests.leaderboard.records import record_of


def test_which_of_two_copies_is_shown_decides_its_page_and_may_change(tmp_path: Path) -> None:
    one, out = record_of("good", 0), tmp_path / "site"
    put(tmp_path / "a", [one])
    (copy,) = put(tmp_path / "b", [one], looked=False)
    places = [f"{tmp_path}/a", f"{tmp_path}/b"]

    def seen(*given: str) -> bool:
        build(list(given), out)
        build(list(given), tmp_path / "whole")
        assert contents(out) == contents(tmp_path / "whole")
        shutil.rmtree(tmp_path / "whole")
        return b"data:image/png" in contents(out)[f"runs/{one.id}.html"]

    assert seen(*places) is True
    assert seen(*places[::-1]) is False
    assert seen(*places) is True
    copy.write_text(copy.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    assert seen(*places) is True
    shutil.rmtree(tmp_path / "a" / "mine")
    assert seen(*places) is False


@pytest.fixture
def address(runs: Path) -> Iterator[str]:
    """Return the address of an http listing of the example's records."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments: object) -> None: ...

    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Quiet, directory=runs)
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()


@pytest.mark.parametrize("protocol", ["http", "file", "memory"])
def test_records_from_anywhere_give_the_same_pages(
    protocol: str, runs: Path, address: str, tmp_path: Path
) -> None:
    place = address if protocol == "http" else f"file://{runs}"
    if protocol == "memory":
        import fsspec

        fsspec.filesystem("memory").put(f"{runs}/", "/runs/", recursive=True)
        place = "memory://runs"
    built = build([place], tmp_path / "site")
    assert built.shown == len(example()) and built.problems == []
    build([str(runs)], tmp_path / "local")
    assert contents(tmp_path / "site") == contents(tmp_path / "local")
    assert build([place], tmp_path / "site").read == (len(example()) if protocol == "http" else 0)
