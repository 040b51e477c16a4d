"""How long a caller may take to send or take a body. Whoever is slower has its connection closed."""

from typing import Final

BODY_TICKS: Final = 30  # seconds; after these, a body must have come at
BODY_RATE: Final = 1024  # bytes per second at least
WRITE_TICKS: Final = 60  # for a client to take what it asked for
