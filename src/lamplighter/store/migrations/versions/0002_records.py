"""Records: what hangs on functions, and what stands alone."""

from alembic import op

revision = "0002"
down_revision = "0001"

TABLES = (
    """
    CREATE TABLE records (
        account TEXT NOT NULL,
        region TEXT NOT NULL,
        kind TEXT NOT NULL,
        owner TEXT NOT NULL,
        key TEXT NOT NULL,
        number INTEGER NOT NULL,
        function TEXT,
        document TEXT NOT NULL,
        digest TEXT,
        size INTEGER,
        PRIMARY KEY (account, region, kind, owner, key),
        FOREIGN KEY (account, region, function) REFERENCES functions (account, region, name) ON DELETE CASCADE
    )
    """,
    "CREATE INDEX records_by_order ON records (account, region, kind, owner, number, key)",
    "CREATE INDEX records_by_function ON records (account, region, function) WHERE function IS NOT NULL",
    "CREATE INDEX records_by_digest ON records (digest) WHERE digest IS NOT NULL",
)


def upgrade() -> None:
    for table in TABLES:
        op.execute(table)


def downgrade() -> None:
    op.execute("DROP TABLE records")
