"""A first function: greets whoever the event names, and tells where it ran."""

import platform


def lambda_handler(event, context):
    name = event.get("name", "world")
    print(f"greeting {name}")
    return {
        "greeting": f"Hello, {name}!",
        "function": context.function_name,
        "python": platform.python_version(),
        "request": context.aws_request_id,
    }
