"""Whether the service is alive, and whether it can take calls: for load balancers and orchestrators, who sign nothing.

They learn no more than that: no version, no names, no figures. The paths are none that Lambda has. A service that
drains accepts no connection any more, which every probe takes for not ready.
"""

from collections.abc import Callable
from typing import Final

from lamplighter.api.http import Request, Response

HEALTH: Final = "/_lamplighter/health"
READY: Final = "/_lamplighter/ready"
_NO_STORE: Final = (("Cache-Control", "no-store"),)


class Health:
    """`ready`: whether a call that came now could run."""

    def __init__(self, ready: Callable[[], bool]) -> None:
        self._ready = ready

    async def __call__(self, request: Request) -> Response:
        """Any request whose path starts with HEALTH or READY."""
        if request.path not in (HEALTH, READY):
            return Response(404, _NO_STORE, b'{"status":"unknown"}')
        if request.method not in ("GET", "HEAD"):
            return Response(405, (*_NO_STORE, ("Allow", "GET, HEAD")), b'{"status":"unknown"}')
        if request.path == HEALTH:
            return Response(200, _NO_STORE, b'{"status":"alive"}')
        if self._ready():
            return Response(200, _NO_STORE, b'{"status":"ready"}')
        return Response(503, _NO_STORE, b'{"status":"not ready"}')
