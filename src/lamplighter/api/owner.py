"""What only the service's owner may read of it: pages below /_lamplighter/, signed as every call is; functions' own
credentials open none. No operation of AWS's has such a path."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from lamplighter.api.http import Caller, Request, Response
from lamplighter.model.errors import AccessDeniedException

_HEADERS: Final = (("Content-Type", "application/json"), ("Cache-Control", "no-store"))

# Given the query as it came; answers JSON, or raises a ServiceError.
Page = Callable[[str], Awaitable[bytes]]


class OwnersPages:
    """`owner`: the access key that may ask; None: whoever passes `verify`. `pages`: by path."""

    def __init__(self, verify: Callable[[Request], Caller], owner: str | None, pages: Mapping[str, Page]) -> None:
        self._verify = verify
        self._owner = owner
        self._pages = pages

    async def __call__(self, request: Request) -> Response:
        """Any request whose path starts with that of a page."""
        caller = self._verify(request)
        if self._owner is not None and caller.access_key != self._owner:
            raise AccessDeniedException("Only the service's owner may see this.")
        page = self._pages.get(request.path)
        if page is None:
            return Response(404, _HEADERS, b"{}")
        if request.method != "GET":
            return Response(405, (*_HEADERS, ("Allow", "GET")), b"{}")
        return Response(200, _HEADERS, await page(request.query))
