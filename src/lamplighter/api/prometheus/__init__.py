"""What Prometheus scrapes, on a listener of its own."""
