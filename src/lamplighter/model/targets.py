"""What events can be sent on to, by ARN: queues, topics, buses, functions and buckets (AWS: spec 5).

Both those who configure targets and those who deliver to them read ARNs here, so that nothing is accepted that could
not be reached later.
"""

import re
from dataclasses import dataclass
from typing import Final, Literal, cast

TargetService = Literal["sqs", "sns", "events", "lambda", "s3"]

_ARN: Final = re.compile(
    r"arn:aws[a-zA-Z-]*:(?P<service>[a-z0-9-]+):(?P<region>[a-z0-9-]*):(?P<account>(\d{12})?):(?P<resource>.+)",
    re.ASCII,
)
# The rest of an ARN, behind the account. FIFO queues and topics can't be targets.
_RESOURCES: Final = {
    "sqs": re.compile(r"(?!.*\.fifo$)(?P<name>[a-zA-Z0-9_.-]+)", re.ASCII),
    "sns": re.compile(r"(?!.*\.fifo$)(?P<name>[a-zA-Z0-9_.-]+)", re.ASCII),
    "events": re.compile(r"event-bus/(?P<name>[a-zA-Z0-9_./-]+)", re.ASCII),
    "lambda": re.compile(r"function:(?P<name>[a-zA-Z0-9_-]+)(:(?P<qualifier>\$LATEST|[a-zA-Z0-9_-]+))?", re.ASCII),
    "s3": re.compile(r"(?P<name>[a-z0-9.-]+)", re.ASCII),
}


@dataclass(frozen=True, slots=True)
class Target:
    """`region` and `account` are empty for buckets, whose ARNs don't say; `qualifier` is a function's."""

    arn: str
    service: TargetService
    region: str
    account: str
    name: str
    qualifier: str | None = None


def parse_target(arn: str) -> Target | None:
    """None: no event can be sent there."""
    parts = _ARN.fullmatch(arn)
    if parts is None or parts["service"] not in _RESOURCES:
        return None
    found = _RESOURCES[parts["service"]].fullmatch(parts["resource"])
    if found is None or (parts["service"] != "s3" and not (parts["region"] and parts["account"])):
        return None
    named = found.groupdict()
    return Target(
        arn,
        cast(TargetService, parts["service"]),
        parts["region"],
        parts["account"],
        named["name"],
        named.get("qualifier"),
    )
