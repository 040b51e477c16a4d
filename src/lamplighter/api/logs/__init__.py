"""CloudWatch Logs on the wire, as far as the tools that people read logs with use it."""
