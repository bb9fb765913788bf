"""Where a study is stored: a journal file, or a database, and patience with either."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, RDBStorage
from sqlalchemy.exc import NoSuchModuleError, SQLAlchemyError

from moesuite.errors import UserError
from moesuite.tune.journal import open_journal

TRIES = 7  # to reach a storage: a minute, in which a database has started again
WAIT = 1.0  # seconds before the second try, doubled for each one after it
STORAGES = "a file, or an address such as postgresql://user:password@host/database"
Result = TypeVar("Result")


class Patience:
    """Retries what a storage refuses, with exponential backoff; a success resets it.

    Args:
        storage: file or address, for messages.
        print_line: shows a line.
    """

    def __init__(self, storage: str, print_line: Callable[[str], None]) -> None:
        self.storage = storage
        self.print_line = print_line
        self.failures = 0

    def __call__(self, action: Callable[[], Result]) -> Result:
        """Return the result of an action.

        Raises:
            UserError: if it failed `TRIES` times in a row.
        """
        while True:
            try:
                result = action()
            except (StorageInternalError, SQLAlchemyError) as error:
                self._wait(str(error.__cause__ or error).splitlines()[0])
            else:
                self.failures = 0
                return result

    def _wait(self, reason: str) -> None:
        self.failures += 1
        if self.failures == TRIES:
            raise UserError(
                f"storage={self.storage} cannot be reached: {reason}; the study is unchanged, and "
                f"the same command resumes it; expected {STORAGES}"
            )
        seconds = WAIT * 2 ** (self.failures - 1)
        self.print_line(
            f"storage={self.storage} cannot be reached ({reason}); trying again in {seconds:g} s"
        )
        time.sleep(seconds)


def open_storage(storage: str) -> BaseStorage:
    """Open a journal file, or a database by its address.

    Raises:
        UserError: for a file that is no journal, an unknown kind of database, or one whose driver
            is not installed.
    """
    if "://" not in storage:
        return open_journal(Path(storage))
    # of PostgreSQL's two drivers, the one of our extra "postgresql"
    address = re.sub(r"^postgres(ql)?://", "postgresql+psycopg://", storage)
    try:
        return RDBStorage(address, {"pool_pre_ping": True})
    except (ImportError, NoSuchModuleError, ValueError) as error:
        raise UserError(
            f"storage={storage}: {str(error).splitlines()[0]}; expected {STORAGES} "
            '(pip install -e ".[postgresql]")'
        ) from None
