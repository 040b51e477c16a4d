"""The runtimes that AWS prints when it refuses one that it does not know, in its order, as recorded (2025-11).

A text and no rule: newer runtimes are not in it. What functions can be created with is for `runtimes/` to say.
"""

from lamplighter.model.errors import InvalidParameterValueException

CREATABLE = (
    "nodejs20.x",
    "python3.14",
    "provided.al2023",
    "python3.12",
    "python3.13",
    "nodejs24.x",
    "nodejs22.x",
    "java25",
    "python3.10",
    "python3.11",
    "java21",
    "ruby3.3",
    "ruby3.4",
    "ruby3.2",
    "python3.8",
    "python3.9",
    "java17",
    "nodejs16.x",
    "dotnet10",
    "dotnet8",
    "java11",
    "dotnet6",
    "nodejs18.x",
    "provided.al2",
    "java8.al2",
)


def unknown_runtime(name: str) -> InvalidParameterValueException:
    """The refusal of a `Runtime` that is none: worded like AWS's first validation layer, raised in its second."""
    return InvalidParameterValueException(
        f"Value {name} at 'runtime' failed to satisfy constraint: "
        f"Member must satisfy enum value set: [{', '.join(CREATABLE)}] or be a valid ARN"
    )
