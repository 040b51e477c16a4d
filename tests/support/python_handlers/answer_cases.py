"""Answers of every kind, and of kinds that can't be sent."""

import collections
import dataclasses
import datetime
import decimal
import enum
import json
import uuid

from case_registry import case


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
    return {2: "int", 1.5: "float", True: "bool", None: "none", "s": "str", float("inf"): "inf", -7: "neg"}


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

    class Kind(str, enum.Enum):  # noqa: UP042  # Python 3.9 has no StrEnum
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
