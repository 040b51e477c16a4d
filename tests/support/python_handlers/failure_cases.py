"""Ways to fail within a handler."""

# ruff: noqa: B904, SIM115  # the failures are meant
import asyncio
import json

from case_registry import case


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
    (lambda argument: argument)()


@case
def async_failure(event, context):
    async def fails():
        await asyncio.sleep(0)
        raise ValueError("awaited")

    asyncio.run(fails())
