"""Where the commands print their tables."""

from typing import Final

from rich.console import Console

WIDE: Final = 200  # columns of a file


def for_tables() -> Console:
    """As wide as the terminal. A file has room, and what reads it wants each row on one line."""
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console.width = max(console.width, WIDE)
    return console
