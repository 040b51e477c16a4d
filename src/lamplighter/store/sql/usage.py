"""Statements about metered usage, which has a file of its own, and thus its own tables and their version."""

from typing import Final

from lamplighter.model.metering import Key, Totals

VERSION: Final = 3  # of the tables, in PRAGMA user_version

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

# Tags of functions, those too that are deleted: a JSON object of each.
CREATE_TAGS: Final = """
CREATE TABLE tags (
    account TEXT NOT NULL, region TEXT NOT NULL, function TEXT NOT NULL, tags TEXT NOT NULL,
    PRIMARY KEY (account, region, function)
) WITHOUT ROWID
"""
# What is counted since.
ADD_SNAPSHOTS: Final = "; ".join(
    f"ALTER TABLE usage ADD COLUMN {name} INTEGER NOT NULL DEFAULT 0"
    for name in ("restores", "restored_memory", "cached", "cached_memory")
)
KEEP_TAGS: Final = "INSERT OR REPLACE INTO tags VALUES (?, ?, ?, ?)"
TAGS: Final = "SELECT account, region, function, tags FROM tags"
# Of functions that no usage names any more.
FORGET_TAGS: Final = """
DELETE FROM tags WHERE NOT EXISTS (
    SELECT 1 FROM usage WHERE usage.account = tags.account AND usage.region = tags.region
    AND usage.function = tags.function)
"""

# Older rows, of all runs, become one for each day, and much older ones one for each month and function. What is added
# to one that is there already is added in the transaction that deletes what it came from.
NEWEST: Final = "SELECT max(hour) FROM usage"
_GATHER: Final = f"""
INSERT INTO usage (run, {_KEYS}, {_TOTALS})
SELECT :run, account, region, function, {{version}}, {{hour}} AS begin, architecture, kind,
    {", ".join(f"sum({name})" for name in Totals._fields)}
FROM usage WHERE hour < :before AND run NOT IN ({{finished}}) AND run NOT IN (SELECT value FROM json_each(:live))
GROUP BY account, region, function, {{version}}, begin, architecture, kind
ON CONFLICT DO UPDATE SET {", ".join(f"{name} = {name} + excluded.{name}" for name in Totals._fields)}
"""
_GATHERED: Final = """
DELETE FROM usage
WHERE hour < :before AND run NOT IN ({finished}) AND run NOT IN (SELECT value FROM json_each(:live))
"""
_MONTH: Final = "CAST(strftime('%s', hour * 3600, 'unixepoch', 'start of month') AS INTEGER) / 3600"
BY_DAY: Final = _GATHER.format(version="version", hour="hour / 24 * 24", finished="'day', 'month'")
BY_DAY_DONE: Final = _GATHERED.format(finished="'day', 'month'")
BY_MONTH: Final = _GATHER.format(version="''", hour=_MONTH, finished="'month'")
BY_MONTH_DONE: Final = _GATHERED.format(finished="'month'")

# A run's totals in place of its earlier ones: written twice, they count once.
REPLACE: Final = f"""
INSERT OR REPLACE INTO usage (run, {_KEYS}, {_TOTALS})
VALUES ({", ".join("?" * (1 + len(Key._fields) + len(Totals._fields)))})
"""

# What all runs counted from one hour until before another.
BETWEEN: Final = f"""
SELECT {_KEYS}, {{sums}} FROM usage
WHERE hour >= ? AND hour < ? GROUP BY {_KEYS} ORDER BY {_KEYS}
"""

# The same by day, whatever the version.
BY_DAY_BETWEEN: Final = """
SELECT account, region, function, '' AS version, hour / 24 * 24 AS begin, architecture, kind, {sums}
FROM usage WHERE hour >= ? AND hour < ?
GROUP BY account, region, function, begin, architecture, kind ORDER BY account, region, function, begin
"""

_SNAPSHOTS: Final = 3  # the first version of the tables that has these columns, which are the last four


def sums(version: int) -> str:
    """Of what tables of this version count."""
    return ", ".join(f"sum({name})" for name in Totals._fields[: None if version >= _SNAPSHOTS else -4])
