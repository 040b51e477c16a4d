"""Other services for tests: SQS, SNS, EventBridge and S3 as moto serves them, in a process of their own."""

import asyncio
import os
import re
import select
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import boto3
import orjson
from botocore.config import Config

from lamplighter.neighbours.signing import Keys

KEYS = Keys("AKIDEXAMPLE", "secret")
REGION = "us-east-1"
START = 60.0  # seconds to the line that says where it is
MESSAGE = 20.0  # seconds that a message may take


class Neighbours:
    """`url`: the endpoint of all of them. What tests make there stays until the end: give it names of its own."""

    def __init__(self, url: str) -> None:
        self.url = url

    @contextmanager
    def client(self, service: str) -> Iterator[Any]:
        made = boto3.client(
            service,
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id=KEYS.access_key,
            aws_secret_access_key=KEYS.secret_key,
            config=Config(retries={"total_max_attempts": 1}),
        )
        try:
            yield made
        finally:
            made.close()

    def queue(self, name: str) -> "Queue":
        with self.client("sqs") as sqs:
            url = sqs.create_queue(QueueName=name)["QueueUrl"]
            found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        return Queue(self, url, found["Attributes"]["QueueArn"])

    def topic(self, name: str) -> tuple[str, "Queue"]:
        """Its ARN, and a queue that is given what is published there."""
        queue = self.queue(f"{name}-subscriber")
        with self.client("sns") as sns:
            arn = sns.create_topic(Name=name)["TopicArn"]
            sns.subscribe(TopicArn=arn, Protocol="sqs", Endpoint=queue.arn)
        return arn, queue

    def bus(self, name: str) -> tuple[str, "Queue"]:
        """Its ARN, and a queue that is given every event."""
        queue = self.queue(f"{name}-target")
        with self.client("events") as events:
            arn = events.create_event_bus(Name=name)["EventBusArn"]
            pattern = orjson.dumps({"source": ["lambda"]}).decode()
            events.put_rule(Name=f"{name}-all", EventBusName=name, EventPattern=pattern)
            events.put_targets(Rule=f"{name}-all", EventBusName=name, Targets=[{"Id": "1", "Arn": queue.arn}])
        return arn, queue

    def bucket(self, name: str) -> str:
        with self.client("s3") as s3:
            s3.create_bucket(Bucket=name)
        return f"arn:aws:s3:::{name}"

    def objects(self, bucket: str) -> Mapping[str, bytes]:
        """Every object of a bucket by its key."""
        with self.client("s3") as s3:
            keys = [each["Key"] for each in s3.list_objects_v2(Bucket=bucket).get("Contents", [])]
            return {key: s3.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys}


class Queue:
    def __init__(self, neighbours: Neighbours, url: str, arn: str) -> None:
        self._neighbours = neighbours
        self._url = url
        self.arn = arn

    def messages(self, count: int) -> list[dict[str, Any]]:
        """So many messages, which are taken out; fails when they don't come."""
        found: list[dict[str, Any]] = []
        deadline = time.monotonic() + MESSAGE
        with self._neighbours.client("sqs") as sqs:
            while len(found) < count:
                assert time.monotonic() < deadline, f"{len(found)} of {count} messages came: {found}"
                received = sqs.receive_message(
                    QueueUrl=self._url,
                    MaxNumberOfMessages=10,
                    MessageAttributeNames=["All"],
                    AttributeNames=["All"],
                    WaitTimeSeconds=1,
                )
                for message in received.get("Messages", []):
                    found.append(message)
                    sqs.delete_message(QueueUrl=self._url, ReceiptHandle=message["ReceiptHandle"])
        return found

    def message(self) -> dict[str, Any]:
        return self.messages(1)[0]

    @property
    def is_empty(self) -> bool:
        with self._neighbours.client("sqs") as sqs:
            return not sqs.receive_message(QueueUrl=self._url, VisibilityTimeout=0).get("Messages")


@contextmanager
def serving_neighbours() -> Iterator[Neighbours]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "MOTO_"))}
    command = (sys.executable, "-c", "from moto.server import main; main()", "-H", "127.0.0.1", "-p", "0")
    with subprocess.Popen(
        command,
        env=kept | {"MOTO_ACCOUNT_ID": "000000000000", "PYTHONUNBUFFERED": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    ) as process:
        try:
            assert process.stderr
            url = _url(process.stderr.fileno())
            # What it says of each request is of no interest; nobody reads on, so it must not fill the pipe.
            drain = subprocess.Popen(("cat",), stdin=process.stderr, stdout=subprocess.DEVNULL)
            try:
                yield Neighbours(url)
            finally:
                process.terminate()
                drain.wait(10)
        finally:
            process.kill()


def _url(stderr: int) -> str:
    said, deadline = b"", time.monotonic() + START
    while (left := deadline - time.monotonic()) > 0 and select.select([stderr], [], [], left)[0]:
        piece = os.read(stderr, 4096)
        assert piece, f"moto ended: {said.decode(errors='replace')}"
        said += piece
        if found := re.search(rb"Running on (http://127\.0\.0\.1:\d+)\n", said):
            return found[1].decode()
    raise AssertionError(f"moto did not start: {said.decode(errors='replace')}")


class Relay:
    """A way to another server that can be cut: nobody answers there while it is."""

    def __init__(self, url: str) -> None:
        self._host, _, port = url.removeprefix("http://").partition(":")
        self._port = int(port)
        self._listener: asyncio.Server | None = None
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def open(self) -> None:
        self._listener = await asyncio.start_server(self._relay, "127.0.0.1", self.port)
        self.port = self._listener.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        if self._listener is not None:
            self._listener.close()
            await self._listener.wait_closed()
            self._listener = None

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(self._host, self._port)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_copy(reader, back))
                group.create_task(_copy(there, writer))
        finally:
            writer.close()
            back.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while piece := await reader.read(65_536):
            writer.write(piece)
            await writer.drain()
        writer.write_eof()
    except OSError:
        pass  # one side has gone, and the other notices


@asynccontextmanager
async def relay(url: str) -> AsyncIterator[Relay]:
    """Closed at first; it keeps its port once it was open."""
    made = Relay(url)
    try:
        yield made
    finally:
        await made.cut()
