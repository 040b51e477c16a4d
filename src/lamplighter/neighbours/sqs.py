"""SQS, as far as it is needed: a message to a queue that is known by its ARN.

Where a queue is (its URL) is for the service to say, and is remembered until the queue turns out to be gone. Calls go
to the endpoint whatever host that URL names: behind a container's port, it names one that nobody else can reach.
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from lamplighter.neighbours.wire import Endpoint, NeighbourError

REMEMBERED: Final = 1000  # queues


class Attribute(NamedTuple):
    """Of a message. `type`: String or Number; the value is a text that is not empty, either way."""

    type: str
    value: str

    def on_the_wire(self) -> dict[str, str]:
        return {"DataType": self.type, "StringValue": self.value}


class Sqs:
    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._urls: dict[tuple[str, str, str], str] = {}

    async def send(
        self,
        queue: tuple[str, str, str],
        body: str,
        attributes: Mapping[str, Attribute] | None = None,
        trace: str | None = None,
    ) -> None:
        """`queue`: region, account and name; `trace`: an X-Amzn-Trace-Id for who receives it. Raises NeighbourError."""
        members: dict[str, Any] = {"QueueUrl": await self._url(queue), "MessageBody": body}
        if attributes:
            members["MessageAttributes"] = {name: each.on_the_wire() for name, each in attributes.items()}
        if trace:
            members["MessageSystemAttributes"] = {"AWSTraceHeader": Attribute("String", trace).on_the_wire()}
        try:
            await self._call("SendMessage", queue[0], members)
        except NeighbourError:
            self._urls.pop(queue, None)  # the queue may have been made again, elsewhere
            raise

    async def _url(self, queue: tuple[str, str, str]) -> str:
        if queue not in self._urls:
            region, account, name = queue
            found = await self._call("GetQueueUrl", region, {"QueueName": name, "QueueOwnerAWSAccountId": account})
            if len(self._urls) >= REMEMBERED:
                self._urls.clear()
            self._urls[queue] = str(found.get("QueueUrl"))
        return self._urls[queue]

    async def _call(self, operation: str, region: str, members: Mapping[str, Any]) -> dict[str, Any]:
        return await self._endpoint.call_json(f"AmazonSQS.{operation}", "1.0", region, members)
