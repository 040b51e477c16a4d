"""What handlers print and log."""

# ruff: noqa: B028  # as handlers do
import asyncio
import contextlib
import datetime
import io
import logging
import os
import sys
import threading
import warnings

from case_registry import case

log = logging.getLogger(__name__)


@case
def print_lines(event, context):
    print("one")
    print("two\nthree\n\nfour", "five", sep="|", end="!\n")
    print("to stderr", file=sys.stderr)
    print("carriage\rreturn")
    print("ünï ☃")
    print(end="")


@case
def write_streams(event, context):
    answer = [sys.stdout.write("written "), sys.stderr.write("error\n")]
    sys.stdout.writelines(["a", "b\n"])
    os.write(1, b"by descriptor\n")
    sys.stdout.buffer.write(b"through the buffer\n")
    sys.stdout.flush()
    return [*answer, type(sys.stdout).__name__, sys.stdout.encoding, sys.stdout.isatty(), sys.stdout.fileno()]


@case
def log_levels(event, context):
    for level in ("debug", "info", "warning", "error", "critical"):
        getattr(logging, level)("at %s", level)
        getattr(log, level)("own logger at %s", level)
    log.log(35, "between")
    log.log(5, "below debug")
    log.log(77, "above critical")
    return [logging.getLogger().level, logging.getLogger().getEffectiveLevel()]


@case
def log_after_set_level(event, context):
    root = logging.getLogger()
    before = root.level
    root.setLevel("DEBUG")
    log.debug("now visible")
    root.setLevel(before)


@case
def log_extra(event, context):
    log.warning("with extra", extra={"order": 7, "who": "Zoë", "when": datetime.date(2026, 1, 2), "none": None})
    log.warning("extra that looks like ours", extra={"requestId": "mine", "level": "mine", "location": "mine"})
    log.warning({"a": "mapping", "at": datetime.date(2026, 1, 2)})
    log.warning({"a": "mapping %s"}, "with arguments")
    log.warning("%(named)s", {"named": "argument"})
    log.warning(["a", "list"])
    log.warning(None)


@case
def log_exception(event, context):
    try:
        raise LookupError("caught Zoë")
    except LookupError:
        log.exception("it went wrong: %s", 1)
        log.warning("less so", exc_info=True)
        log.error("with stack", stack_info=True) if event.get("stack") else None
    log.error("without one", exc_info=True)
    log.error("given", exc_info=ValueError("given"))


@case
def log_lines(event, context):
    log.error("first\nsecond\r\nthird")
    log.error("")


@case
def log_bad_format(event, context):
    logging.raiseExceptions = False
    log.error("%d", "not a number")
    logging.raiseExceptions = True


@case
def log_handlers(event, context):
    handler = logging.getLogger().handlers[0]
    return [len(logging.getLogger().handlers), repr(handler), handler.level, hasattr(handler, "log_sink")]


@case
def basic_config(event, context):
    logging.basicConfig(level="DEBUG", format="mine %(message)s")
    log.warning("after basicConfig")
    return len(logging.getLogger().handlers)


@case
def own_handler(event, context):
    own = logging.StreamHandler(sys.stdout)
    own.setFormatter(logging.Formatter("own %(name)s %(aws_request_id)s %(message)s"))
    own.addFilter(logging.getLogger().handlers[0].filters[0])
    log.addHandler(own)
    log.warning("twice")
    log.removeHandler(own)


@case
def log_in_thread(event, context):
    thread = threading.Thread(target=log.warning, args=("from a thread",), name="a-thread")
    thread.start()
    thread.join()


@case
def log_in_task(event, context):
    async def inside():
        log.warning("from a task")

    asyncio.run(inside())


@case
def captured_stdout(event, context):
    stream = io.StringIO()
    with contextlib.redirect_stdout(stream):
        log.warning("captured")
        print("too")
    return stream.getvalue()[:30].split("\t")[0]


@case
def warn(event, context):
    warnings.warn("a warning")
    warnings.warn("deprecated", DeprecationWarning)


@case
def log_surrogate(event, context):
    log.warning("escape \udc80")
    print("\udcff")
