"""Statements about the change sequence."""

from typing import Final

# That something of a function changed, as the newest change.
BUMP: Final = """
INSERT INTO changes (account, region, name, sequence)
VALUES (?, ?, ?, (SELECT coalesce(max(sequence), 0) + 1 FROM changes))
ON CONFLICT (account, region, name) DO UPDATE SET sequence = excluded.sequence
"""

# The newest change.
SEQUENCE: Final = """
SELECT coalesce(max(sequence), 0) FROM changes
"""
