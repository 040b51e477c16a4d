"""S3 as a neighbour: requests that it accepts, and answers of every kind, on a real socket."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import quote

import pytest
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import example, given
from hypothesis import strategies as st

from lamplighter.model.errors import AccessDeniedException, InvalidParameterValueException
from lamplighter.neighbours import signing
from lamplighter.neighbours.http import TooLarge
from lamplighter.neighbours.s3 import S3, S3Error
from lamplighter.neighbours.signing import Keys
from support.control import REGION, ManualClock, control_plane, run, zipped

KEYS = Keys("AKIDEXAMPLE", "secret/key+", "to/ken==")
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
LARGEST = 1_000_000


class Server:
    """Gives the same bytes to everybody, and remembers what was asked. `stays`: does not hang up afterwards."""

    def __init__(self, answer: bytes, stays: bool = False) -> None:
        self.answer = answer
        self.stays = stays
        self.requests: list[str] = []
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            self.requests.append((await reader.readuntil(b"\r\n\r\n")).decode())
            writer.write(self.answer)
            await writer.drain()
            if self.stays:
                await reader.read()
        except OSError:
            pass  # the client has seen enough
        finally:
            writer.close()


@asynccontextmanager
async def serving(answer: bytes, stays: bool = False) -> AsyncIterator[Server]:
    server = Server(answer, stays)
    async with await asyncio.start_server(server.serve, "127.0.0.1", 0) as listener:
        server.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
        yield server


def s3(server: Server, deadline: float = 10.0) -> S3:
    return S3(server.url, KEYS, ManualClock(), deadline)


def error(status: str, code: str, message: str, *headers: str) -> bytes:
    text = f'<?xml version="1.0"?>\n<Error><Code>{code}</Code><Message>{message}</Message></Error>'
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(text)}", *headers]
    return "\r\n".join([*lines, "", text]).encode()


@pytest.mark.parametrize(
    "answer",
    [
        OK,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\nhello",
        b"HTTP/1.1 100 Continue\r\n\r\n" + OK,
    ],
    ids=["length", "chunked", "until the end", "continue"],
)
def test_an_object_is_read_however_it_is_sent(answer: bytes):
    async def main() -> None:
        async with serving(answer) as server:
            assert await s3(server).get("bucket", "a/k y+ü.zip", "v=1/2", REGION, LARGEST) == b"hello"
            (request,) = server.requests
            line, *headers = request.split("\r\n")
            assert line == "GET /bucket/a/k%20y%2B%C3%BC.zip?versionId=v%3D1%2F2 HTTP/1.1"
            assert f"Host: {server.url.removeprefix('http://')}" in headers

    run(main)


@pytest.mark.parametrize(
    ("answer", "code", "message"),
    [
        (error("404 Not Found", "NoSuchKey", "It&apos;s &lt;gone&gt;."), "NoSuchKey", "It's <gone>."),
        (error("200 OK", "", "")[:60], "ServiceUnavailable", "The S3 endpoint of this installation cannot be reached."),
        (b"nonsense", "ServiceUnavailable", "The S3 endpoint of this installation cannot be reached."),
        (b"", "ServiceUnavailable", "The S3 endpoint of this installation cannot be reached."),
        (b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy", "503", "HTTP status 503"),
        (b"HTTP/1.1 302 Found\r\nLocation: http://elsewhere/\r\nContent-Length: 0\r\n\r\n", "302", "HTTP status 302"),
    ],
    ids=["error", "truncated", "no HTTP", "nothing", "no XML", "redirect"],
)
def test_what_is_no_object_is_told_with_a_code(answer: bytes, code: str, message: str):
    async def main() -> None:
        async with serving(answer) as server:
            with pytest.raises(S3Error) as refused:
                await s3(server).get("bucket", "key", None, REGION, LARGEST)
            assert (refused.value.code, refused.value.message) == (code, message)

    run(main)


def test_an_endpoint_that_is_not_there_or_says_nothing_is_unavailable():
    async def main() -> None:
        async with serving(b"", stays=True) as server:
            with pytest.raises(S3Error, match="ServiceUnavailable"):
                await s3(server, deadline=0.1).get("bucket", "key", None, REGION, LARGEST)
        with pytest.raises(S3Error, match="ServiceUnavailable"):
            await s3(server).get("bucket", "key", None, REGION, LARGEST)

    run(main)


def test_an_object_that_is_too_large_is_not_read_to_its_end():
    async def main() -> None:
        header = b"HTTP/1.1 200 OK\r\nContent-Length: 100000000000\r\n\r\n"
        async with serving(header + bytes(3_000_000), stays=True) as server:
            with pytest.raises(TooLarge):
                await s3(server).get("bucket", "key", None, REGION, 1_000_000)

    run(main)


def test_only_some_objects_are_fetched_at_once_and_the_others_wait_their_turn():
    async def main() -> None:
        async with serving(OK) as server:
            client = s3(server)
            fetched = await asyncio.gather(*(client.get("b", str(n), None, REGION, LARGEST) for n in range(20)))
            assert fetched == [b"hello"] * 20
        async with serving(b"", stays=True) as server:
            client = s3(server, deadline=0.2)
            waiting = (client.get("b", str(n), None, REGION, LARGEST) for n in range(6))
            results = await asyncio.gather(*waiting, return_exceptions=True)
            codes = sorted(result.code for result in results if isinstance(result, S3Error))
            assert len(codes) == 6 and set(codes) <= {"ServiceUnavailable", "SlowDown"}

    run(main)


ENCODED = st.text(max_size=20).map(lambda text: quote(text, safe=""))


@given(
    service=st.sampled_from(["s3", "sqs"]),
    path=st.lists(ENCODED, max_size=4).map("/".join),
    query=st.dictionaries(ENCODED.filter(bool), ENCODED, max_size=4),
    body=st.binary(max_size=50),
    token=st.sampled_from([None, "to/ken=="]),
    value=st.text("abc -_", max_size=20),
)
@example("s3", "", {"0": "", "00": ""}, b"", None, "")
def test_requests_are_signed_as_botocore_signs_them(
    service: str, path: str, query: dict[str, str], body: bytes, token: str | None, value: str
):
    url = f"http://127.0.0.1:9000/{path}" + ("?" if query else "") + "&".join(f"{n}={v}" for n, v in query.items())
    keys = Keys("AKIDEXAMPLE", "secret/key+", token)
    sent = signing.sign("POST", url, {"X-Other": value}, body, keys, service, REGION, 1_750_000_000.5)
    request = AWSRequest("POST", url, headers={"X-Other": value}, data=body)
    request.context["timestamp"] = sent["X-Amz-Date"]
    for name in ("X-Amz-Date", "X-Amz-Security-Token", "X-Amz-Content-SHA256"):
        if name in sent:
            request.headers[name] = sent[name]
    kind = (
        S3SigV4Auth
        if service == "s3"
        else type("Exact", (SigV4Auth,), {"_normalize_url_path": lambda _, p: quote(p, safe="/~")})
    )
    auth = kind(Credentials("AKIDEXAMPLE", "secret/key+", token), service, REGION)
    text = auth.string_to_sign(request, auth.canonical_request(request))
    assert sent["Authorization"].endswith(f"Signature={auth.signature(text, request)}")


def test_code_from_s3_is_refused_in_the_words_of_s3(tmp_path: Path):
    denied = "Access Denied"
    redirect = error("301 Moved", "PermanentRedirect", "Go away", "x-amz-bucket-region: eu-west-1")
    cases: tuple[tuple[bytes, type[Exception], str], ...] = (
        (
            error("404 Not Found", "NoSuchBucket", "The specified bucket does not exist"),
            InvalidParameterValueException,
            "Error occurred while GetObject. S3 Error Code: NoSuchBucket. "
            "S3 Error Message: The specified bucket does not exist",
        ),
        (
            redirect,
            InvalidParameterValueException,
            "Error occurred while GetObject. S3 Error Code: PermanentRedirect. S3 Error Message: The bucket is in this "
            "region: eu-west-1. Please use this region to retry the request",
        ),
        (
            error("403 Forbidden", "AccessDenied", denied),
            AccessDeniedException,
            "Your access has been denied by S3, please make sure your request credentials have permission to GetObject "
            "for bucket/key.zip. S3 Error Code: AccessDenied. S3 Error Message: Access Denied",
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n",
            InvalidParameterValueException,
            "Unzipped size must be smaller than 262144000 bytes",
        ),
    )

    async def main() -> None:
        for number, (answer, kind, text) in enumerate(cases):
            async with serving(answer) as server, control_plane(tmp_path / str(number), s3=s3(server)) as plane:
                with pytest.raises(kind) as refused:
                    await plane.create("f", Code={"S3Bucket": "bucket", "S3Key": "key.zip"})
                assert str(refused.value) == text

    run(main)


def test_functions_and_layers_take_packages_from_s3(tmp_path: Path):
    async def main() -> None:
        package = zipped({"handler.py": bytes(100)})
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(package) + package
        async with serving(answer) as server, control_plane(tmp_path, s3=s3(server)) as plane:
            where = {"S3Bucket": "bucket", "S3Key": "key.zip", "S3ObjectVersion": "v1"}
            created = await plane.create("f", Code=where)
            layer = await plane.call("PublishLayerVersion", LayerName="l", Content=where)
            assert created["CodeSize"] == layer["Content"]["CodeSize"] == len(package)
            await plane.settled("f")
            updated = await plane.call("UpdateFunctionCode", FunctionName="f", **where)
            assert updated["CodeSha256"] == created["CodeSha256"] == layer["Content"]["CodeSha256"]
            assert [request.split(" ")[1] for request in server.requests] == ["/bucket/key.zip?versionId=v1"] * 3

    run(main)
