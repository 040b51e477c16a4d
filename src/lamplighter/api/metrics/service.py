"""CloudWatch's metrics as one service of the front door, in all three of its protocols."""

from collections.abc import Callable, Mapping
from typing import Final

from lamplighter.api.http import Caller, Request
from lamplighter.api.metrics.data import DataOperation
from lamplighter.api.metrics.reading import ReadingOperations
from lamplighter.api.metrics.writing import WritingOperation
from lamplighter.api.other_service import OtherService
from lamplighter.model.clock import Clock
from lamplighter.telemetry.metrics.collector import Collector
from lamplighter.telemetry.metrics.errors import RequestEntityTooLarge, ValidationError

NAME = "monitoring"  # in credential scopes
MODEL = "cloudwatch"
VERSION = "2010-08-01"
PREFIX = "GraniteServiceVersion20100801"
LARGEST: Final[Mapping[str, int]] = {"PutMetricData": 1 << 20, "GetMetricData": 600 << 10}  # bytes of a request
NAMESPACE = "http://monitoring.amazonaws.com/doc/2010-08-01/"


def metrics_service(
    collector: Collector, clock: Clock, verify: Callable[[Request], Caller], region: str
) -> OtherService:
    operations = {
        **ReadingOperations(collector, clock).operations(),
        **DataOperation(collector).operations(),
        **WritingOperation(collector, clock).operations(),
    }
    return OtherService(
        MODEL,
        VERSION,
        PREFIX,
        operations,
        verify,
        region,
        ValidationError,
        scope=NAME,
        large=frozenset(("GetMetricData", "GetMetricStatistics", "ListMetrics")),
        namespace=NAMESPACE,
        outspoken=frozenset(("PutMetricData",)),
        limit=_limit,
    )


def _limit(operation: str, size: int) -> None:
    """AWS counts a request as it is sent, so that one that is compressed may hold more."""
    most = LARGEST.get(operation, size)
    if size > most:
        raise RequestEntityTooLarge(f"Request size {size} exceeded {most} bytes")
