"""Functions, their versions, the packages these need, and the change sequence."""

from alembic import op

revision = "0001"
down_revision = None

TABLES = (
    """
    CREATE TABLE functions (
        account TEXT NOT NULL,
        region TEXT NOT NULL,
        name TEXT NOT NULL,
        tags TEXT NOT NULL,
        last_version INTEGER NOT NULL,
        PRIMARY KEY (account, region, name)
    )
    """,
    """
    CREATE TABLE function_versions (
        account TEXT NOT NULL,
        region TEXT NOT NULL,
        name TEXT NOT NULL,
        version TEXT NOT NULL,
        number INTEGER NOT NULL,
        revision TEXT NOT NULL,
        settled INTEGER NOT NULL,
        document TEXT NOT NULL,
        serving TEXT,
        PRIMARY KEY (account, region, name, version),
        FOREIGN KEY (account, region, name) REFERENCES functions (account, region, name) ON DELETE CASCADE
    )
    """,
    "CREATE INDEX function_versions_by_number ON function_versions (account, region, name, number)",
    "CREATE INDEX function_versions_unsettled ON function_versions (settled) WHERE settled = 0",
    """
    CREATE TABLE function_packages (
        digest TEXT NOT NULL,
        account TEXT NOT NULL,
        region TEXT NOT NULL,
        name TEXT NOT NULL,
        version TEXT NOT NULL,
        size INTEGER NOT NULL,
        PRIMARY KEY (account, region, name, version, digest),
        FOREIGN KEY (account, region, name, version)
            REFERENCES function_versions (account, region, name, version) ON DELETE CASCADE
    )
    """,
    "CREATE INDEX function_packages_by_digest ON function_packages (digest)",
    """
    CREATE TABLE changes (
        account TEXT NOT NULL,
        region TEXT NOT NULL,
        name TEXT NOT NULL,
        sequence INTEGER NOT NULL,
        PRIMARY KEY (account, region, name)
    )
    """,
    "CREATE UNIQUE INDEX changes_by_sequence ON changes (sequence)",
)


def upgrade() -> None:
    for table in TABLES:
        op.execute(table)
