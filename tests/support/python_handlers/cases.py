"""One function per behaviour, told by the event's `case`; and handlers that are not plain functions."""

import functools

import answer_cases
import context_cases
import failure_cases
import log_cases
from case_registry import CASES

MODULES = (answer_cases, context_cases, failure_cases, log_cases)


def handler(event, context):
    print("=== " + event["case"])
    return CASES[event["case"]](event, context)


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
