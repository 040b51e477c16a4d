"""A client that sends whatever it is told, valid or not, on one kept connection; botocore reads the answers.

For services with `--auth off`: nothing is signed. Much cheaper than boto3's clients, which check what they send."""

import http.client
from types import TracebackType
from typing import Any, Self

from lamplighter.api.http import Request, Response
from support.botocore_wire import request, understood

DEADLINE = 30.0  # seconds that an answer may take


class WireClient:
    """Of one thread. `with WireClient(port) as client:`"""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def send(self, operation: str, parameters: dict[str, Any]) -> Response:
        """Raises OSError or HTTPException when the service is gone."""
        return self.exchange(request(operation, parameters))

    def exchange(self, sent: Request) -> Response:
        target = f"{sent.path}?{sent.query}" if sent.query else sent.path
        self._connection.request(sent.method, target, sent.body, dict(sent.headers))
        answer = self._connection.getresponse()
        return Response(answer.status, tuple(answer.getheaders()), answer.read())

    def call(self, operation: str, **parameters: Any) -> dict[str, Any]:
        """The output, or "Error" with what was refused; raises AssertionError for a failure of the service's."""
        response = self.send(operation, parameters)
        assert response.status < 500, (operation, parameters, response)
        return understood(operation, response)
