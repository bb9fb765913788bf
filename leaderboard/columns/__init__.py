"""The columns of the board, each declared once, in the order of the page.

Entry, row, payload, CSV, page headers, tooltips, plot axes and the method page follow from
`COLUMNS`. A new figure is one more `Column` in `costs` or `routing`, and no other file changes.

Names are those of the record. Values keep the record's units (FLOP, seconds, shares in [0, 1]);
only `Column.format` converts them, to what `Column.unit` says.
"""

from __future__ import annotations

from moesuite.leaderboard.columns.column import Column
from moesuite.leaderboard.columns.comparison import COMPARISON, NOTES
from moesuite.leaderboard.columns.costs import COSTS
from moesuite.leaderboard.columns.routing import ROUTING

COLUMNS: tuple[Column, ...] = (*COMPARISON, *COSTS, *ROUTING, *NOTES)


def figures() -> tuple[Column, ...]:
    """Return the columns that are read from records."""
    return tuple(column for column in COLUMNS if column.read is not None)
