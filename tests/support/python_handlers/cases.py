"""One function per behaviour; the runtime's handler is `handler`, which prints the case's name and runs it."""

import asyncio
import collections
import dataclasses
import datetime
import decimal
import enum
import functools
import json
import logging
import os
import sys
import threading
import time
import uuid
import warnings

COUNTER = iter(range(1000))
CASES = {}
log = logging.getLogger(__name__)


def case(function):
    CASES[function.__name__] = function
    return function


def handler(event, context):
    print("=== " + event["case"])
    return CASES[event["case"]](event, context)


# --- answers


@case
def nothing(event, context):
    pass


@case
def echo(event, context):
    return event


@case
def scalars(event, context):
    return [None, True, False, 0, -1, 1.5, 1e300, 1e16, 123456789012345680.0, 0.1, -0.0, "", [], {}, ()]


@case
def a_string(event, context):
    return 'quote " backslash \\ slash / tab \t bell \a del \x7f'


@case
def unicode_text(event, context):
    return {"ключ": "Zoë ☃ \u2028 \u2029 \U0001f600 \ufeff \uffff", "\x00": "\x1f\x80\x9f\xa0"}


@case
def surrogate_pair_from_event(event, context):
    return {"text": event["text"], "length": len(event["text"])}


@case
def some_bytes(event, context):
    return b"\x00\xff raw"


@case
def empty_bytes(event, context):
    return b""


@case
def bytes_inside(event, context):
    return {"a": b"abc", b"key": [b"\xc3\xa9"]}


@case
def bad_bytes_inside(event, context):
    return {"a": b"\xff"}


@case
def bytearray_answer(event, context):
    return bytearray(b"abc")


@case
def decimals(event, context):
    d = decimal.Decimal
    return [d("1.10"), d("1E+3"), d("-0"), d("NaN"), d("sNaN"), d("Infinity"), d("-Infinity"), {"n": d(7)}]


@case
def a_decimal_key(event, context):
    return {decimal.Decimal("1.5"): 1}


@case
def not_a_number(event, context):
    return [float("nan"), float("inf"), float("-inf"), {"x": float("nan")}]


@case
def huge_int(event, context):
    return [2**64, -(2**200), 10**4000]


@case
def int_of_too_many_digits(event, context):
    return 10**5000


@case
def key_kinds(event, context):
    return {1: "int", 1.5: "float", True: "bool", None: "none", "s": "str", float("inf"): "inf", -7: "neg"}


@case
def a_tuple_key(event, context):
    return {"ok": 1, (1, 2): 3}


@case
def a_set(event, context):
    return {1}


@case
def a_set_deep_inside(event, context):
    return {"a": [1, {"b": {2}}]}


@case
def a_datetime(event, context):
    return {"at": datetime.datetime(2026, 1, 2, 3, 4, 5)}


@case
def a_uuid(event, context):
    return uuid.UUID(int=7)


@case
def an_object(event, context):
    return object()


@case
def a_dataclass(event, context):
    @dataclasses.dataclass
    class Point:
        x: int = 1

    return Point()


@case
def a_generator(event, context):
    return (i for i in range(3))


@case
def a_dict_view(event, context):
    return {"a": 1}.keys()


@case
def a_class(event, context):
    return ValueError


@case
def a_named_tuple(event, context):
    Point = collections.namedtuple("Point", "x y")
    return [Point(1, 2), {"p": Point([3], Point(4, 5))}]


@case
def something_with_asdict(event, context):
    class Thing:
        def _asdict(self):
            return {"made": "by hand"}

    return {"thing": Thing()}


@case
def asdict_that_needs_arguments(event, context):
    class Thing(list):
        def _asdict(self, argument):
            return {}

    return Thing([1])


@case
def asdict_of_the_wrong_kind(event, context):
    class Thing:
        def _asdict(self):
            return [1]

    return Thing()


@case
def subclasses(event, context):
    class Text(str):
        def __str__(self):
            return "not me"

    class Number(int):
        def __str__(self):
            return "nor me"

        __repr__ = __str__

    class Real(float):
        def __repr__(self):
            return "nor me"

    class Colour(enum.Enum):
        RED = 1

    class Level(enum.IntEnum):
        HIGH = 3

    class Kind(str, enum.Enum):
        A = "a"

    ordered = collections.OrderedDict(b=1, a=2)
    counted = collections.Counter("aab")
    values = [Text("text"), Number(5), Real(2.5), Level.HIGH, Kind.A, ordered, counted, {Level.HIGH: 1, Kind.A: 2}]
    return [*values, collections.defaultdict(list, a=[1]), {Number(6): 1}, {Text("k"): 1}, {Real(1.5): 1}]


@case
def a_plain_enum(event, context):
    return enum.Enum("Colour", "RED").RED


@case
def circular(event, context):
    loop = {}
    loop["self"] = [loop]
    return loop


@case
def the_same_thing_twice(event, context):
    shared = {"a": decimal.Decimal(1)}
    return [shared, shared, (shared,)]


@case
def deeply_nested(event, context):
    deep = []
    for _ in range(100_000):
        deep = [deep]
    return deep


@case
def nested_within_reason(event, context):
    deep = {"d": decimal.Decimal("0.5")} if event.get("slow") else {}
    for _ in range(200):
        deep = {"d": [deep]}
    return deep


@case
def raises_while_it_is_written(event, context):
    class Evil(dict):
        def items(self):
            raise LookupError("no items today")

    return {"a": Evil(b=1), "s": {1}}


@case
def a_coroutine(event, context):
    async def later():
        return 1

    coroutine = later()
    coroutine.close()
    return coroutine


@case
def json_text(event, context):
    return json.dumps({"statusCode": 200, "body": "é"})


@case
def a_proxy_answer(event, context):
    return {"statusCode": 200, "headers": {"Content-Type": "text/html"}, "body": "<p>" * 50, "isBase64Encoded": False}


# --- failures


class OwnError(Exception):
    pass


class OddText(Exception):
    def __str__(self):
        return ""


@case
def raise_value_error(event, context):
    raise ValueError("some text")


@case
def raise_without_text(event, context):
    raise RuntimeError


@case
def raise_several_arguments(event, context):
    raise OwnError("a", 2, None)


@case
def raise_key_error(event, context):
    return {}["missing"]


@case
def raise_own_error(event, context):
    raise OwnError("of my own")


@case
def raise_empty_text(event, context):
    raise OddText("hidden")


@case
def raise_lines(event, context):
    raise ValueError("first\nsecond\r\n  third\n\n")


@case
def raise_unicode(event, context):
    raise ValueError("Zoë ☃ \u2028 \U0001f600 \x1b[0m \x00")


@case
def raise_chained(event, context):
    try:
        raise KeyError("inner")
    except KeyError as inner:
        raise ValueError("outer") from inner


@case
def raise_in_except(event, context):
    try:
        raise KeyError("inner")
    except KeyError:
        raise ValueError("while handling")


@case
def raise_group(event, context):
    raise OwnError([ValueError(1), TypeError(2)])


@case
def raise_deep(event, context):
    def down(n):
        if n == 0:
            raise ValueError("at the bottom")
        down(n - 1)

    down(7)


@case
def raise_multi_line_statement(event, context):
    raise ValueError(
        "spread",
        "over lines",
    )


@case
def raise_from_library(event, context):
    json.loads("{")


@case
def raise_from_generated_code(event, context):
    exec(compile("def f():\n    1 / 0\nf()", "<generated>", "exec"), {})


@case
def raise_from_lambda(event, context):
    return (lambda: [][1])()


@case
def recursion(event, context):
    return recursion(event, context)


@case
def raise_with_note(event, context):
    error = ValueError("noted")
    if hasattr(error, "add_note"):
        error.add_note("a note")
    raise error


@case
def raise_os_error(event, context):
    open("/nowhere/at/all")


@case
def raise_stop_iteration(event, context):
    return next(iter(()))


@case
def assertion(event, context):
    assert event is None, "not none"


@case
def raise_class_of_long_name(event, context):
    raise type("Very.Odd Näme", (Exception,), {})("x")


@case
def raise_long_text(event, context):
    raise ValueError("x" * 1_100_000)


@case
def name_error(event, context):
    return undefined_name  # noqa: F821


@case
def wrong_arguments(event, context):
    nothing()


@case
def async_failure(event, context):
    async def fails():
        await asyncio.sleep(0)
        raise ValueError("awaited")

    asyncio.run(fails())


# --- logs


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
        raise OwnError("caught Zoë")
    except OwnError:
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
    import contextlib
    import io

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


# --- context


def members(context):
    return {name: str(value) for name, value in vars(context).items()}


@case
def context_members(event, context):
    return [members(context), repr(context), type(context).__name__, context.w3c()]


@case
def context_client(event, context):
    client = context.client_context
    return [
        members(context),
        repr(client),
        client and [client.custom, client.env, client.client and client.client.app_title],
        context.identity.cognito_identity_id,
        context.identity.cognito_identity_pool_id,
        context.tenant_id,
        context.w3c(),
        repr(context),
    ]


@case
def context_time(event, context):
    return [context.get_remaining_time_in_millis() > 1000, type(context.get_remaining_time_in_millis()).__name__]


@case
def context_no_time(event, context):
    return context.get_remaining_time_in_millis()


@case
def context_log(event, context):
    context.log("raw")
    context.log(7)
    context.log("\n")


@case
def context_of_no_such_attribute(event, context):
    return context.no_such_thing


@case
def context_attributes_can_be_set(event, context):
    context.mine = 1
    return context.mine


@case
def log_with_tenant(event, context):
    log.warning("for a tenant")
    raise ValueError("of a tenant")


# --- process


@case
def variables(event, context):
    names = ["_X_AMZN_TRACE_ID", "_HANDLER", "TZ", "LAMBDA_TASK_ROOT", "AWS_LAMBDA_FUNCTION_NAME"]
    return {name: os.environ.get(name) for name in names}


@case
def local_time(event, context):
    return [time.tzname[0], time.localtime(0).tm_hour, os.getcwd() == os.environ["LAMBDA_TASK_ROOT"]]


@case
def search_path(event, context):
    return [sys.path[0] == os.environ["LAMBDA_TASK_ROOT"] or sys.path[0], __name__, __file__]


@case
def count(event, context):
    return next(COUNTER)


@case
def leave_a_thread(event, context):
    threading.Thread(target=threading.Event().wait, daemon=True).start()
    return threading.current_thread() is threading.main_thread()


@case
def leave_a_task(event, context):
    async def main():
        asyncio.ensure_future(asyncio.sleep(1000))
        return "left"

    return asyncio.run(main())


@case
def modules_of_the_runtime(event, context):
    return [name in sys.modules for name in ("bootstrap", "client", "context", "answers", "handler", "run")]


partially = functools.partial(handler)
anonymous = lambda event, context: handler(event, context)  # noqa: E731


class Callable:
    def __call__(self, event, context):
        return handler(event, context)

    @staticmethod
    def static(event, context):
        return handler(event, context)


instance = Callable()
not_callable = 7


async def coroutine(event, context):
    return 1


def one_argument(event):
    return 1


class AsClass(dict):
    def __init__(self, event, context):
        super().__init__(event, made="by a class")
