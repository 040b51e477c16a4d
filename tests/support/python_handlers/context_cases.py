"""The context, and the process around the handler."""

import asyncio
import logging
import os
import sys
import threading
import time

from case_registry import case

log = logging.getLogger(__name__)
COUNTER = iter(range(1000))


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
        asyncio.ensure_future(asyncio.sleep(1000))  # noqa: RUF006  # left to its fate
        return "left"

    return asyncio.run(main())


@case
def modules_of_the_runtime(event, context):
    return [name in sys.modules for name in ("bootstrap", "client", "context", "answers", "handler", "run")]
