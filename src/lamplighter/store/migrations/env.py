"""Runs revisions on the connection that `schema.migrate` gives, all in its one transaction."""

from alembic import context

context.configure(connection=context.config.attributes["connection"], transactional_ddl=True)
context.run_migrations()
