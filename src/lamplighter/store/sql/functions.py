"""Statements about functions, their versions and the packages these need."""

from typing import Final

# A function without versions yet; changes nothing when the name is taken.
CREATE: Final = """
INSERT INTO functions (account, region, name, tags, last_version)
VALUES (:account, :region, :name, :tags, 0)
ON CONFLICT DO NOTHING
"""

# The next version number of a function; no row when there is no such function.
NEXT_VERSION: Final = """
UPDATE functions SET last_version = last_version + 1
WHERE account = :account AND region = :region AND name = :name
RETURNING last_version
"""

# A new version.
INSERT_VERSION: Final = """
INSERT INTO function_versions (account, region, name, version, number, revision, settled, document, serving)
VALUES (:account, :region, :name, :version, :number, :revision, :settled, :document, NULL)
"""

# A version as it is now, if it still is the one that was read. No row changes otherwise.
REPLACE_VERSION: Final = """
UPDATE function_versions
SET revision = :revision,
    settled = :settled,
    serving = CASE WHEN :serve_this THEN NULL ELSE coalesce(serving, document) END,
    document = :document
WHERE account = :account AND region = :region AND name = :name AND version = :version
  AND revision = :expected_revision
RETURNING serving
"""

# That a version needs a package.
INSERT_PACKAGE: Final = """
INSERT INTO function_packages (account, region, name, version, digest, size)
VALUES (:account, :region, :name, :version, :digest, :size)
"""

# Forget what a version needed.
DELETE_PACKAGES: Final = """
DELETE FROM function_packages
WHERE account = :account AND region = :region AND name = :name AND version = :version
"""

# One version as it is shown.
GET: Final = """
SELECT document FROM function_versions
WHERE account = ? AND region = ? AND name = ? AND version = ?
"""

# One version as invocations use it.
GET_SERVING: Final = """
SELECT coalesce(serving, document) FROM function_versions
WHERE account = ? AND region = ? AND name = ? AND version = ?
"""

# The version published last, if it was not deleted.
GET_NEWEST: Final = """
SELECT v.document FROM functions f
JOIN function_versions v ON v.account = f.account AND v.region = f.region AND v.name = f.name
  AND v.number = f.last_version AND v.number > 0
WHERE f.account = ? AND f.region = ? AND f.name = ?
"""

# A function's tags.
GET_TAGS: Final = """
SELECT tags FROM functions WHERE account = ? AND region = ? AND name = ?
"""

# Every function's tags.
ALL_TAGS: Final = """
SELECT account, region, name, tags FROM functions
"""

# Other tags for a function.
SET_TAGS: Final = """
UPDATE functions SET tags = ? WHERE account = ? AND region = ? AND name = ?
"""

# How many functions there are.
COUNT: Final = """
SELECT count(*) FROM functions WHERE account = ? AND region = ?
"""

# $LATEST of functions behind a name, by name.
PAGE: Final = """
SELECT v.document FROM functions f
JOIN function_versions v ON v.account = f.account AND v.region = f.region AND v.name = f.name AND v.version = '$LATEST'
WHERE f.account = ? AND f.region = ? AND f.name > ?
ORDER BY f.name
LIMIT ?
"""

# Versions behind a name and number, by both.
PAGE_OF_VERSIONS: Final = """
SELECT document FROM function_versions
WHERE account = ? AND region = ? AND (name, number) > (?, ?)
ORDER BY name, number
LIMIT ?
"""

# Versions of a function behind a number, by number.
PAGE_OF_FUNCTION: Final = """
SELECT document FROM function_versions
WHERE account = ? AND region = ? AND name = ? AND number > ?
ORDER BY number
LIMIT ?
"""

# Versions of which creation or update is in progress.
UNSETTLED: Final = """
SELECT document FROM function_versions WHERE settled = 0 ORDER BY account, region, name, number
"""

# The same of one function.
UNSETTLED_OF: Final = """
SELECT document FROM function_versions
WHERE account = ? AND region = ? AND name = ? AND settled = 0 ORDER BY number
"""

# What all versions of a function need.
PACKAGES_OF: Final = """
SELECT DISTINCT digest FROM function_packages WHERE account = ? AND region = ? AND name = ?
"""

# What one version needs.
PACKAGES_OF_VERSION: Final = """
SELECT DISTINCT digest FROM function_packages WHERE account = ? AND region = ? AND name = ? AND version = ?
"""

# A function; its versions and all that hangs on them go with it.
DELETE: Final = """
DELETE FROM functions WHERE account = ? AND region = ? AND name = ?
"""

# One published version.
DELETE_VERSION: Final = """
DELETE FROM function_versions WHERE account = ? AND region = ? AND name = ? AND version = ? AND number > 0
"""

# Whether any version or record needs a package.
REFERENCED: Final = """
SELECT 1 WHERE EXISTS (SELECT 1 FROM function_packages WHERE digest = :digest)
  OR EXISTS (SELECT 1 FROM records WHERE digest = :digest)
"""

# Every package that is needed.
DIGESTS: Final = """
SELECT digest FROM function_packages UNION SELECT digest FROM records WHERE digest IS NOT NULL
"""

# Bytes of the packages of an account in a region, each version and record counted.
TOTAL_SIZE: Final = """
SELECT (SELECT coalesce(sum(size), 0) FROM function_packages WHERE account = :account AND region = :region)
  + (SELECT coalesce(sum(size), 0) FROM records WHERE account = :account AND region = :region)
"""
