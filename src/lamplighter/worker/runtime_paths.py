"""What a runtime calls, as it stands in requests (AWS: spec 3.3)."""

PREFIX = b"/2018-06-01/runtime/"
NEXT = PREFIX + b"invocation/next"
INVOCATION = PREFIX + b"invocation/"
INIT_ERROR = PREFIX + b"init/error"
RESTORE_NEXT = PREFIX + b"restore/next"
RESTORE_ERROR = PREFIX + b"restore/error"
