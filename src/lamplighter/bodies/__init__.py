"""Payloads of megabytes: judged, and carried between sockets, beside the event loop."""
