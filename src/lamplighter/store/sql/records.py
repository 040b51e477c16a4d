"""Statements about records: what hangs on functions, and what stands alone."""

from typing import Final

# One record's document.
GET: Final = """
SELECT document FROM records WHERE account = ? AND region = ? AND kind = ? AND owner = ? AND key = ?
"""

# Write a record, new or over the one there was.
PUT: Final = """
INSERT INTO records (account, region, kind, owner, key, number, function, document, digest, size)
VALUES (:account, :region, :kind, :owner, :key, :number, :function, :document, :digest, :size)
ON CONFLICT (account, region, kind, owner, key) DO UPDATE
SET number = excluded.number, document = excluded.document, digest = excluded.digest, size = excluded.size
"""

# Remove a record.
DELETE: Final = """
DELETE FROM records WHERE account = ? AND region = ? AND kind = ? AND owner = ? AND key = ? RETURNING document
"""

# Records of a kind and owner behind a number and key, by both.
PAGE_OF_OWNER: Final = """
SELECT owner, key, document FROM records
WHERE account = ? AND region = ? AND kind = ? AND owner = ? AND (number, key) > (?, ?)
ORDER BY number, key LIMIT ?
"""

# The same in front of a number and key, from the last.
PAGE_OF_OWNER_BACKWARDS: Final = """
SELECT owner, key, document FROM records
WHERE account = ? AND region = ? AND kind = ? AND owner = ? AND (number, key) < (?, ?)
ORDER BY number DESC, key DESC LIMIT ?
"""

BEHIND_ALL: Final = 2**63 - 1  # greater than any number of a key

# Records of a kind behind an owner, number and key, by all three.
PAGE_OF_KIND: Final = """
SELECT owner, key, document FROM records
WHERE account = ? AND region = ? AND kind = ? AND (owner, number, key) > (?, ?, ?)
ORDER BY owner, number, key LIMIT ?
"""

# Give a version another revision, if nothing of it is in progress or whatever is.
TOUCH_VERSION: Final = """
UPDATE function_versions
SET revision = :revision, document = json_set(document, '$.revision', :revision)
WHERE account = :account AND region = :region AND name = :name AND version = :version
"""
