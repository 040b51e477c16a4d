"""The life of a runtime process: set up, import the handler, then answer one invocation after the other."""

from __future__ import annotations

import atexit
import builtins
import logging
import os
import signal
import site
import sys
import threading
import time
import types
from typing import TYPE_CHECKING, Any, NoReturn

from . import answers, faults, handler, snapshots
from .context import LambdaContext
from .faults import Fault
from .logs import Log
from .runtime_api import Event, RuntimeApi

if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping

_UNESCAPED = frozenset(f"AWS_Lambda_python3.{minor}" for minor in range(12, 16))

# AWS's runtime writes this, word for word, before the error of a handler that can't be loaded; people search for it.
_UNHANDLED = (
    "LAMBDA_WARNING: Unhandled exception. The most likely cause is an issue in the function code. "
    "However, in rare cases, a Lambda runtime update can cause unexpected function behavior. "
    "For functions using managed runtimes, runtime updates can be triggered by a function change, or can be applied "
    "automatically. "
    "To determine if the runtime has been updated, check the runtime version in the INIT_START log entry. "
    "If this error correlates with a change in the runtime version, you may be able to mitigate this error by "
    "temporarily rolling back to the previous runtime version. "
    "For more information, see https://docs.aws.amazon.com/lambda/latest/dg/runtimes-update.html\r"
)


def main() -> NoReturn:
    """Run the function of this environment until the process is to end, and end it."""
    try:
        _run(os.environ)
    except SystemExit as stop:
        _end(_exit_code(stop.code))
    except KeyboardInterrupt as interrupt:
        _show(interrupt)
        _end(1, kill=signal.SIGINT)
    except BaseException as error:  # the outermost frame: what the interpreter itself would do
        _show(error)
        _end(1)


def _run(environ: MutableMapping[str, str]) -> NoReturn:
    become_the_main_program(environ)
    encoder = answers.Encoder(escape=environ.get("AWS_EXECUTION_ENV") not in _UNESCAPED)
    log = Log(environ, encoder.encode)
    api = RuntimeApi(environ["AWS_LAMBDA_RUNTIME_API"])
    handler.set_search_path(environ)
    log.set_up()
    function = _load(environ["_HANDLER"], api, log, encoder)
    if environ.get("AWS_LAMBDA_INITIALIZATION_TYPE") == "snap-start" and snapshots.become_template(
        api, environ, log, encoder
    ):
        api.hang_up()
        api = RuntimeApi(environ["AWS_LAMBDA_RUNTIME_API"])
        snapshots.after_restore(api, log, encoder)
    while True:
        event = api.next()
        _invoke(event, function, api, log, encoder, environ)


def become_the_main_program(environ: MutableMapping[str, str]) -> None:
    """Undo what a forked process inherits and a fresh interpreter would not have."""
    time.tzset()
    if "random" in sys.modules:
        sys.modules["random"].seed()
    program = os.path.join(environ.get("LAMBDA_RUNTIME_DIR", "/var/runtime"), "bootstrap.py")
    sys.argv = [program]
    main_module = types.ModuleType("__main__")
    main_module.__file__ = program
    sys.modules["__main__"] = main_module
    if not hasattr(builtins, "exit"):  # a fork server started without `site` has none
        site.setquit()
        site.sethelper()
        site.setcopyright()
    sys.modules.pop("bootstrap", None)


def _load(name: str, api: RuntimeApi, log: Log, encoder: answers.Encoder) -> Callable[[Any, LambdaContext], Any]:
    try:
        return handler.find(name)
    except Fault as fault:
        failure = faults.payload(fault.message, fault.kind, fault.stack)
    except Exception as error:  # the function's own module may raise anything
        failure = faults.payload(
            str(error), type(error).__name__, faults.format_frames(faults.user_frames(error.__traceback__))
        )
    logging.warning(_UNHANDLED)
    log.error(failure)
    api.fail_init(encoder.encode(failure).encode(), failure["errorType"])
    sys.exit(1)


def _invoke(
    event: Event,
    function: Callable[[Any, LambdaContext], Any],
    api: RuntimeApi,
    log: Log,
    encoder: answers.Encoder,
    environ: MutableMapping[str, str],
) -> None:
    header = event.header
    request_id = header(b"lambda-runtime-aws-request-id")
    tenant_id = header(b"lambda-runtime-aws-tenant-id") or None
    log.current.request_id, log.current.tenant_id = request_id, tenant_id
    trace_id = header(b"lambda-runtime-trace-id")
    if trace_id:
        environ["_X_AMZN_TRACE_ID"] = trace_id
    else:
        environ.pop("_X_AMZN_TRACE_ID", None)
    try:
        context = LambdaContext(
            request_id,
            header(b"lambda-runtime-client-context"),
            header(b"lambda-runtime-cognito-identity"),
            int(header(b"lambda-runtime-deadline-ms") or 0),
            header(b"lambda-runtime-invoked-function-arn"),
            tenant_id,
        )
        answer = function(_parse(event), context)
        text = answer if isinstance(answer, bytes) else _encode(answer, encoder)
    except Fault as fault:
        failure = faults.payload(fault.message, fault.kind, fault.stack, request_id)
        cause = faults.cause(fault.message, "LambdaValidationError", [])
    except Exception as error:  # the function may raise anything
        kind, message = type(error).__name__, str(error)
        frames = faults.user_frames(error.__traceback__)
        failure = faults.payload(message, kind, faults.format_frames(frames), request_id)
        cause = faults.cause(message, kind, frames)
    else:
        if isinstance(text, bytes):
            api.answer(event, text, "application/unknown")
        else:
            api.answer(event, text.encode(), "application/json")
        return
    log.error(failure)
    api.answer_error(event, encoder.encode(failure).encode(), encoder.encode(cause))


def _parse(event: Event) -> Any:
    if event.header(b"content-type") not in ("application/json", ""):
        return event.body
    try:
        return answers.load(event.body)
    except (ValueError, RecursionError) as error:
        raise Fault("Runtime.UnmarshalError", f"Unable to unmarshal input: {error}") from None


def _encode(answer: Any, encoder: answers.Encoder) -> str:
    try:
        return encoder.encode(answer)
    except Exception as error:  # values may run code of the function
        raise Fault("Runtime.MarshalError", f"Unable to marshal response: {error}") from None


def _exit_code(code: object) -> int:
    if code is None:
        return 0
    if isinstance(code, int):
        return code & 0xFF
    sys.stderr.write(f"{code}\n")
    return 1


def _show(error: BaseException) -> None:
    seen: BaseException | None = error
    while seen is not None:
        seen.__traceback__ = faults.without_own_frames(seen.__traceback__)
        seen = seen.__cause__ or seen.__context__
    sys.excepthook(type(error), error, error.__traceback__)


def _end(code: int, kill: int | None = None) -> NoReturn:
    """What the interpreter does at its end, without unwinding into whoever called `main`."""
    try:
        threading._shutdown()  # pyright: ignore  # waits for the threads that are not daemons
        atexit._run_exitfuncs()  # pyright: ignore
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    finally:
        if kill is not None:
            signal.signal(kill, signal.SIG_DFL)
            os.kill(os.getpid(), kill)
        os._exit(code)
