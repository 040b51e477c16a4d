"""Metrics: what is counted, kept by the minute for 15 days."""
