"""A local web server for the pages."""

from __future__ import annotations

from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from moesuite.errors import UserError


class Quiet(SimpleHTTPRequestHandler):
    """Serves files without a line for each."""

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


def serve(folder: Path, port: int) -> None:
    """Serve a folder to this machine only, until Ctrl-C.

    Raises:
        UserError: for a port that is taken.
    """
    try:
        server = ThreadingHTTPServer(("127.0.0.1", port), partial(Quiet, directory=folder))
    except OSError as error:
        raise UserError(
            f"port={port}: {error.strerror}; type for example port={port + 1}"
        ) from None
    with server:
        print(f"http://127.0.0.1:{port}/ (Ctrl-C ends it)", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()
