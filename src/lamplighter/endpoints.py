"""What is reached for functions, at the endpoints that settings name: AWS services, with whose keys, and a collector of
traces."""

import logging
import os
import ssl
from urllib.parse import urlsplit

from lamplighter.events.destinations import Targets
from lamplighter.model.clock import SystemClock
from lamplighter.neighbours.eventbridge import EventBridge
from lamplighter.neighbours.http import TooLarge, Unreachable, exchange
from lamplighter.neighbours.s3 import S3
from lamplighter.neighbours.signing import Keys
from lamplighter.neighbours.sns import Sns
from lamplighter.neighbours.sqs import Sqs
from lamplighter.neighbours.wire import Endpoint
from lamplighter.sandbox.inside import SERVICE_API
from lamplighter.settings.choices import Settings
from lamplighter.store.credentials import Credentials
from lamplighter.telemetry.traces.exporter import Post

log = logging.getLogger("lamplighter")


def s3(settings: Settings, owned: Credentials, clock: SystemClock) -> S3 | None:
    return None if settings.s3_endpoint is None else S3(settings.s3_endpoint, _keys(owned), clock)


def targets(settings: Settings, owned: Credentials, clock: SystemClock) -> Targets:
    """What events can be sent on to, as far as it is configured."""

    def endpoint(service: str, name: str, url: str) -> Endpoint:
        return Endpoint(service, name, url, _keys(owned), clock)

    sqs, sns, events = settings.sqs_endpoint, settings.sns_endpoint, settings.events_endpoint
    return Targets(
        None if sqs is None else Sqs(endpoint("sqs", "SQS", sqs)),
        None if sns is None else Sns(endpoint("sns", "SNS", sns)),
        None if events is None else EventBridge(endpoint("events", "EventBridge", events)),
        s3(settings, owned, clock),
    )


def collector(settings: Settings) -> Post | None:
    """Sends a request with traces to the collector, if there is one."""
    if settings.traces_endpoint is None:
        return None
    url = settings.traces_endpoint.rstrip("/") + "/v1/traces"
    tls = ssl.create_default_context() if url.startswith("https:") else None
    headers = {"Host": urlsplit(url).netloc, "Content-Type": "application/json"}

    async def post(body: bytes) -> bool:
        try:
            answer = await exchange("POST", url, headers, body, largest=1 << 20, deadline=10.0, tls=tls)
        except (Unreachable, TooLarge) as error:
            log.warning("traces could not be sent: %s", error)
            return False
        if answer.status >= 500 or answer.status == 429:
            log.warning("traces could not be sent: the collector answered %d", answer.status)
            return False
        if answer.status >= 400:  # it will not take them later either
            log.error("the collector refuses traces with %d: %r", answer.status, answer.body[:200])
        return True

    return post


def inside(settings: Settings, url: str, isolated: bool) -> str | None:
    """Where functions find this service, which is at `url` outside of them."""
    match settings.function_endpoint:
        case "none":
            return None
        case "service":
            return "http://{}:{}".format(*SERVICE_API) if isolated else url
        case elsewhere:
            return elsewhere


def _keys(owned: Credentials) -> Keys:
    """To sign with for other services: the operator's own AWS credentials if there are any, else ours, which our own
    servers know."""
    access_key, secret_key = os.environ.get("AWS_ACCESS_KEY_ID"), os.environ.get("AWS_SECRET_ACCESS_KEY")
    if access_key and secret_key:
        return Keys(access_key, secret_key, os.environ.get("AWS_SESSION_TOKEN") or None)
    return Keys(owned.access_key_id, owned.secret_access_key)
