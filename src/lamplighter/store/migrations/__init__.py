"""Alembic's revisions of the tables, from the first release on.

Imported only when a data directory is not at the newest. A revision is added here and in
`sql/schema.sql`, and `schema.HEAD` names it.
"""
