"""Statements about queued events.

Those that take many keys take them as one JSON array: one statement, one step. PostgreSQL: `= ANY(:ids)`.
"""

from typing import Final

_ROW: Final = "(?, ?, ?, ?, ?, ?, ?, ?, ?)"


def insert(rows: int) -> str:
    """New events, all of them in one step; those that are there already change nothing."""
    return f"""
INSERT INTO events (id, queue, due, attempts, accepted, size, head, state, payload)
VALUES {", ".join([_ROW] * rows)}
ON CONFLICT (accepted, id) DO NOTHING
"""


# Where an event is, if it is there.
POSITION: Final = """
SELECT position FROM events WHERE accepted = ? AND id = ?
"""

# Which of these are still there.
PRESENT: Final = """
SELECT position FROM events WHERE position IN (SELECT value FROM json_each(?))
"""

# Events that are done with.
DELETE: Final = """
DELETE FROM events WHERE position IN (SELECT value FROM json_each(?))
"""

# An event that waits for another attempt.
RETRY: Final = """
UPDATE events SET due = ?, attempts = ?, state = ? WHERE position = ?
"""

# That an event of a queue ended without success, and why.
DIED: Final = """
INSERT INTO event_deaths (queue, reason, count) VALUES (?, ?, 1)
ON CONFLICT (queue, reason) DO UPDATE SET count = count + 1
"""

# The first events of a queue. Read from the index alone, since it is asked for once per claim.
FIRST: Final = """
SELECT position, due, size FROM events WHERE queue = ? ORDER BY due LIMIT ?
"""

# Events in full.
READ: Final = """
SELECT position, id, queue, payload, head, accepted, due, attempts, state FROM events
WHERE position IN (SELECT value FROM json_each(?)) ORDER BY due
"""

# The queues that have events, and when the first of each is due: from one to the next, not from event to event.
QUEUES: Final = """
WITH RECURSIVE found (queue) AS (
    SELECT (SELECT min(queue) FROM events)
    UNION ALL
    SELECT (SELECT min(queue) FROM events WHERE queue > found.queue) FROM found WHERE found.queue IS NOT NULL
)
SELECT found.queue, (SELECT min(due) FROM events WHERE events.queue = found.queue) FROM found
WHERE found.queue IS NOT NULL
"""

# What waits in each queue: events, those of them that were tried, bytes, the oldest one's acceptance.
COUNTS: Final = """
SELECT queue, count(*), sum(attempts > 0), sum(size), min(accepted) FROM events GROUP BY queue
"""

# How many events of each queue ended without success, by reason.
DEATHS: Final = """
SELECT queue, reason, count FROM event_deaths ORDER BY queue, reason
"""

# The first events of a queue in full.
PEEK: Final = """
SELECT position, id, queue, payload, head, accepted, due, attempts, state FROM events
WHERE queue = ? ORDER BY due LIMIT ?
"""
