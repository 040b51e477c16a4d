"""CloudWatch's metrics as one service of the front door, in the JSON protocol that current SDKs and the CLI speak."""

from collections.abc import Callable

from lamplighter.api.http import Caller, Request
from lamplighter.api.json_service import JsonService
from lamplighter.api.metrics.data import DataOperation
from lamplighter.api.metrics.reading import ReadingOperations
from lamplighter.api.metrics.writing import WritingOperation
from lamplighter.model.clock import Clock
from lamplighter.telemetry.metrics.collector import Collector
from lamplighter.telemetry.metrics.errors import ValidationError

NAME = "monitoring"  # in credential scopes
MODEL = "cloudwatch"
VERSION = "2010-08-01"
PREFIX = "GraniteServiceVersion20100801"


def metrics_service(
    collector: Collector, clock: Clock, verify: Callable[[Request], Caller], region: str
) -> JsonService:
    operations = {
        **ReadingOperations(collector, clock).operations(),
        **DataOperation(collector).operations(),
        **WritingOperation(collector, clock).operations(),
    }
    return JsonService(MODEL, VERSION, PREFIX, operations, verify, region, ValidationError)
