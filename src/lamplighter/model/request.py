"""Which request the code at hand works for, so that whatever is logged on the way can say so.

Set for calls of the control plane and deliveries to targets, each of which has a task of its own. Not for what runs
functions: environments and timers that begin in its task would go on under its name. What is logged there names its
request itself.
"""

from contextvars import ContextVar
from typing import Final

REQUEST: Final[ContextVar[str | None]] = ContextVar("request", default=None)
