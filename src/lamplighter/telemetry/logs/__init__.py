"""Logs: taken in without holding up an invocation, kept in segment files, found by time and by filter patterns."""
