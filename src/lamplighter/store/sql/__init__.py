"""Statements by hand, one module per group of tables. Each has a name and one line of purpose.

They are written for SQLite 3.37 and later; a form for PostgreSQL stands beside one when it differs.
"""
