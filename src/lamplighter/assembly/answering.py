"""What answers on the port: AWS's operations, the services beside Lambda, and the owner's pages."""

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from lamplighter import endpoints
from lamplighter.api.account import AccountOperations
from lamplighter.api.aliases import AliasOperations
from lamplighter.api.code_signing import CodeSigningOperations
from lamplighter.api.concurrency import ConcurrencyOperations
from lamplighter.api.downloads import PATH as DOWNLOADS
from lamplighter.api.downloads import Downloads
from lamplighter.api.event_invoke import EventInvokeOperations
from lamplighter.api.functions import FunctionOperations
from lamplighter.api.health import HEALTH, READY, Health
from lamplighter.api.http import Caller, Operation, Request, StreamingOperation
from lamplighter.api.invoke import InvokeApi
from lamplighter.api.invoke_async import InvokeAsyncOperation
from lamplighter.api.invoke_stream import InvokeStreamOperation
from lamplighter.api.layers import LayerOperations
from lamplighter.api.logs.service import NAME as LOGS
from lamplighter.api.logs.service import logs_service
from lamplighter.api.metrics.service import NAME as METRICS
from lamplighter.api.metrics.service import metrics_service
from lamplighter.api.owner import OwnersPages
from lamplighter.api.permissions import PermissionOperations
from lamplighter.api.protocol import Wire
from lamplighter.api.provisioned import ProvisionedOperations
from lamplighter.api.queues import QUEUES, WaitingEvents
from lamplighter.api.recursion import RecursionOperations
from lamplighter.api.runtime_management import RuntimeManagementOperations
from lamplighter.api.scaling import ScalingOperations
from lamplighter.api.server import FrontDoor
from lamplighter.api.sessions import Sessions
from lamplighter.api.sigv4 import Verifier
from lamplighter.api.state import STATE, State
from lamplighter.api.tags import TagOperations
from lamplighter.api.unavailable import unavailable
from lamplighter.api.urls import UrlOperations
from lamplighter.api.usage import USAGE, MonthlyUsage
from lamplighter.api.versions import VersionOperations
from lamplighter.assembly.log_delivery import lets_logs
from lamplighter.assembly.running import Running
from lamplighter.assembly.stores import Stores
from lamplighter.assembly.telemetry import Telemetry
from lamplighter.control.account import Account
from lamplighter.control.aliases import Aliases
from lamplighter.control.code_signing import CodeSigning
from lamplighter.control.concurrency import Concurrency
from lamplighter.control.event_invoke import EventInvokeConfigs
from lamplighter.control.functions import Functions, Runtimes
from lamplighter.control.layer_policies import LayerPolicies
from lamplighter.control.layers import Layers
from lamplighter.control.permissions import Permissions
from lamplighter.control.provisioned import Provisioned
from lamplighter.control.recursion import Recursion
from lamplighter.control.runtime_management import RuntimeManagement
from lamplighter.control.scaling import Scaling
from lamplighter.control.sources import CODE_STORAGE, Sources
from lamplighter.control.tags import Tags
from lamplighter.control.target_permissions import Allows
from lamplighter.control.urls import Urls
from lamplighter.control.versions import Versions
from lamplighter.invoke.pace import Pace
from lamplighter.model.clock import SystemClock
from lamplighter.model.ids import Ids
from lamplighter.model.parcels import Carrier
from lamplighter.runtimes import catalogue
from lamplighter.settings.choices import Settings
from lamplighter.store.contract import QueueCounts
from lamplighter.store.credentials import Credentials
from lamplighter.store.looking import CannotLook, queues
from lamplighter.store.used import used

log = logging.getLogger("lamplighter")


def front_door(
    settings: Settings,
    owned: Credentials,
    sessions: Sessions,
    stores: Stores,
    told: Telemetry,
    running: Running,
    runtimes: Mapping[str, catalogue.InstalledRuntime],
    allows: Allows,
    stands: Callable[[], bool],
    clock: SystemClock,
    ids: Ids,
    carrier: Carrier,
) -> FrontDoor:
    """`stands`: whether functions can be run."""
    wire = Wire()
    downloads = Downloads(owned.derived("downloads"), stores.blobs, clock)
    health = Health(stands)
    verify = _verify(settings, owned, sessions, clock)
    pages = OwnersPages(
        verify,
        owned.access_key_id if settings.auth else None,
        {
            STATE: State(
                running.worker, running.limits, told.activity, settings.account_concurrency, waiting(stores), clock
            ),
            USAGE: MonthlyUsage(None if told.meter is None else told.meter.flush, partial(used, stores.directory)),
            QUEUES: WaitingEvents(partial(queues, stores.directory.events), clock),
        },
    )
    services = [
        logs_service(
            told.archive,
            clock,
            told.intake.flush,
            partial(lets_logs, stores),
            _verify(settings, owned, sessions, clock, LOGS),
            settings.region,
        )
    ]
    if told.metrics is not None:
        verify_metrics = _verify(settings, owned, sessions, clock, METRICS)
        services.append(metrics_service(told.metrics, clock, verify_metrics, settings.region))
    return FrontDoor(
        wire,
        verify,
        {name: unavailable(name) for name in wire.operations}
        | InvokeAsyncOperation(running.invoker, told.acceptance.accept, ids).operations()
        | InvokeStreamOperation(running.invoker, ids, partial(Pace, clock)).operations()
        | _control_plane(settings, owned, stores, told, running, runtimes, downloads, allows, clock),
        InvokeApi(wire, running.invoker, ids, settings.region, told.acceptance.accept, carrier),
        {DOWNLOADS: downloads, HEALTH: health, READY: health, STATE: pages, USAGE: pages, QUEUES: pages},
        clock,
        ids,
        settings.region,
        services,
        carrier,
    )


def _control_plane(
    settings: Settings,
    owned: Credentials,
    stores: Stores,
    told: Telemetry,
    running: Running,
    runtimes: Mapping[str, catalogue.InstalledRuntime],
    downloads: Downloads,
    allows: Allows,
    clock: SystemClock,
) -> dict[str, Operation | StreamingOperation]:
    functions, references, records = stores.functions, stores.references, stores.records
    concurrency = settings.account_concurrency
    sources = Sources(endpoints.s3(settings, owned, clock), references)
    layers = Layers(records, stores.code, sources, clock)
    control = Functions(
        functions,
        records,
        stores.code,
        sources,
        _known_runtimes(settings, runtimes),
        clock,
        lambda id: told.measure("SignatureValidationErrors", id, 1.0, id.arn),
        allows,
    )
    return {
        **FunctionOperations(control, downloads).operations(),
        **VersionOperations(Versions(functions, references, clock, CODE_STORAGE)).operations(),
        **AliasOperations(Aliases(records)).operations(),
        **LayerOperations(layers, LayerPolicies(records), downloads).operations(),
        **CodeSigningOperations(CodeSigning(records, clock)).operations(),
        **EventInvokeOperations(EventInvokeConfigs(records, clock, allows)).operations(),
        **PermissionOperations(Permissions(records)).operations(),
        **TagOperations(Tags(records)).operations(),
        **UrlOperations(Urls(records, clock)).operations(),
        **ConcurrencyOperations(Concurrency(records, concurrency)).operations(),
        **ProvisionedOperations(Provisioned(records, clock, concurrency, running.assignment.standing)).operations(),
        **ScalingOperations(Scaling(records)).operations(),
        **RuntimeManagementOperations(RuntimeManagement(records)).operations(),
        **RecursionOperations(Recursion(records)).operations(),
        **AccountOperations(Account(functions, references, records, concurrency, CODE_STORAGE)).operations(),
    }


def waiting(stores: Stores) -> Callable[[], Sequence[QueueCounts]]:
    """Counts what waits in the queues; nothing, with a warning, if they can't be looked at."""

    def count() -> Sequence[QueueCounts]:
        try:
            return queues(stores.directory.events).counts
        except CannotLook as error:
            log.warning("queues can't be counted: %s", error)
            return ()

    return count


def _known_runtimes(settings: Settings, runtimes: Mapping[str, catalogue.InstalledRuntime]) -> Runtimes:
    def available(name: str) -> str | None:
        return None if name in runtimes or settings.missing_runtimes == "accept" else catalogue.remedy(name)

    return Runtimes(available, catalogue.runtime_version_arn)


def _verify(
    settings: Settings, owned: Credentials, sessions: Sessions, clock: SystemClock, service: str = "lambda"
) -> Callable[[Request], Caller]:
    root = Caller(owned.access_key_id, settings.account_id, f"arn:aws:iam::{settings.account_id}:root")
    if not settings.auth:
        return lambda request: root

    def secret_of(access_key: str) -> tuple[str, Caller] | None:
        if access_key == owned.access_key_id:
            return owned.secret_access_key, root
        return sessions.secret_of(access_key)

    return Verifier(secret_of, clock, settings.region, service, sessions.session_of).verify
