"""What is executed to run a function, where it is no fork of a waiting interpreter."""

from collections.abc import Mapping
from typing import NamedTuple


class Command(NamedTuple):
    """What a sandbox executes: program and arguments, with paths inside.

    waiting: the variables that its program reads when it starts, if it can be started with these alone, before anybody
    knows for which function, and takes the rest as a JSON object from descriptor 4. None: it is started when needed.
    """

    words: tuple[str, ...]
    waiting: Mapping[str, str] | None = None
