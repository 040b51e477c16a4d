"""SNS, as far as it is needed: a message to a topic."""

from collections.abc import Mapping
from typing import Final
from urllib.parse import urlencode

from lamplighter.neighbours.sqs import Attribute
from lamplighter.neighbours.wire import Endpoint, xml_error

VERSION: Final = "2010-03-31"


class Sns:
    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    async def publish(
        self,
        region: str,
        topic_arn: str,
        message: str,
        attributes: Mapping[str, Attribute] | None = None,
        trace: str | None = None,
    ) -> None:
        """`trace`: an X-Amzn-Trace-Id for who receives it. Raises NeighbourError."""
        members = {"Action": "Publish", "Version": VERSION, "TopicArn": topic_arn, "Message": message}
        for number, (name, attribute) in enumerate((attributes or {}).items(), 1):
            prefix = f"MessageAttributes.entry.{number}"
            members[f"{prefix}.Name"] = name
            members[f"{prefix}.Value.DataType"] = attribute.type
            members[f"{prefix}.Value.StringValue"] = attribute.value
        headers = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
        if trace:
            headers["X-Amzn-Trace-Id"] = trace
        answer = await self._endpoint.call("POST", "/", region, headers, urlencode(members).encode())
        if answer.status != 200:
            raise xml_error(answer)
