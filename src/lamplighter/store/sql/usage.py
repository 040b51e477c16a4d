"""Statements about metered usage, which has a file of its own, and thus its own tables and their version."""

from typing import Final

from lamplighter.model.metering import Key, Totals

VERSION: Final = 1  # of the tables, in PRAGMA user_version

_KEYS: Final = ", ".join(Key._fields)
_TOTALS: Final = ", ".join(Totals._fields)

# A row is what one run of the service has counted under one key so far.
CREATE: Final = f"""
CREATE TABLE usage (
    run TEXT NOT NULL,
    account TEXT NOT NULL, region TEXT NOT NULL, function TEXT NOT NULL, version TEXT NOT NULL,
    hour INTEGER NOT NULL, architecture TEXT NOT NULL, kind TEXT NOT NULL,
    {", ".join(f"{name} INTEGER NOT NULL" for name in Totals._fields)},
    PRIMARY KEY (hour, account, region, function, version, architecture, kind, run)
) WITHOUT ROWID
"""

# A run's totals in place of its earlier ones: written twice, they count once.
REPLACE: Final = f"""
INSERT OR REPLACE INTO usage (run, {_KEYS}, {_TOTALS})
VALUES ({", ".join("?" * (1 + len(Key._fields) + len(Totals._fields)))})
"""

# What all runs counted from one hour until before another.
BETWEEN: Final = f"""
SELECT {_KEYS}, {", ".join(f"sum({name})" for name in Totals._fields)} FROM usage
WHERE hour >= ? AND hour < ? GROUP BY {_KEYS} ORDER BY {_KEYS}
"""
