"""What a runtime calls, as it stands in requests (AWS: spec 3.3), and the form in which our own clients answer."""

PREFIX = b"/2018-06-01/runtime/"
NEXT = PREFIX + b"invocation/next"
INVOCATION = PREFIX + b"invocation/"
INIT_ERROR = PREFIX + b"init/error"
RESTORE_NEXT = PREFIX + b"restore/next"
RESTORE_ERROR = PREFIX + b"restore/error"

# An answer of our own clients where the sandbox has its usual address, from its head's length to the `next` behind it.
_HOST = b" HTTP/1.1\r\nHost: 127.0.0.1:9001\r\n"
USUAL = b"POST " + INVOCATION + b"%b/response" + _HOST + b"Content-Type: application/json\r\nContent-Length: "
THEN = b"GET " + NEXT + _HOST + b"\r\n"
