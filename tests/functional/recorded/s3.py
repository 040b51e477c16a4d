"""As much of S3 as fetching code needs: objects by bucket and key, and AWS's own words for those that don't exist."""

import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

Buckets = Mapping[str, Mapping[str, bytes]]


@contextmanager
def serving(buckets: Buckets) -> Generator[str]:
    """The endpoint; buckets are the first part of the path."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            bucket, _, key = unquote(urlsplit(self.path).path).removeprefix("/").partition("/")
            if bucket not in buckets:
                self._answer(404, _error("NoSuchBucket", "The specified bucket does not exist"))
            elif key not in buckets[bucket]:
                self._answer(404, _error("NoSuchKey", "The specified key does not exist."))
            else:
                self._answer(200, buckets[bucket][key])

        do_HEAD = do_GET

        def _answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join(10)


def _error(code: str, message: str) -> bytes:
    text = f"<Error><Code>{code}</Code><Message>{message}</Message><RequestId>1</RequestId><HostId>1</HostId></Error>"
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}'.encode()
