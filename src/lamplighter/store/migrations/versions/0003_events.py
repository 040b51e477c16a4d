"""Queued events."""

from alembic import op

revision = "0003"
down_revision = "0002"

TABLES = (
    """
    CREATE TABLE events (
        position INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL,
        queue TEXT NOT NULL,
        due REAL NOT NULL,
        attempts INTEGER NOT NULL,
        accepted REAL NOT NULL,
        size INTEGER NOT NULL,
        head BLOB NOT NULL,
        state BLOB NOT NULL,
        payload BLOB NOT NULL
    )
    """,
    "CREATE UNIQUE INDEX events_by_id ON events (accepted, id)",
    "CREATE INDEX events_by_queue ON events (queue, due, attempts, accepted, size)",
    """
    CREATE TABLE event_deaths (
        queue TEXT NOT NULL,
        reason TEXT NOT NULL,
        count INTEGER NOT NULL,
        PRIMARY KEY (queue, reason)
    )
    """,
)


def upgrade() -> None:
    for table in TABLES:
        op.execute(table)


def downgrade() -> None:
    op.execute("DROP TABLE event_deaths")
    op.execute("DROP TABLE events")
