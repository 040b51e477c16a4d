"""The init of a template: as that of any environment, up to where its runtime waits to be restored (AWS: spec 8).

How it may fail is told in AWS's codes. A runtime that asks for an invocation instead is one that no copies can be made
of; so is one with extensions, which are processes of their own.
"""

import asyncio

import orjson

from lamplighter.model.functions import FunctionVersion
from lamplighter.model.parcels import Parcel
from lamplighter.sandbox.contract import Exit, Sandbox, Unfit
from lamplighter.worker import failures
from lamplighter.worker.extensions import Extension
from lamplighter.worker.extensions_api import ExtensionsApi
from lamplighter.worker.metadata import Metadata
from lamplighter.worker.runtime_api import RuntimeApi
from lamplighter.worker.telemetry_api import Refused
from lamplighter.worker.telemetry_subscription import Api

_LEAVE = 0.3  # seconds that a runtime may take to exit by itself after an init error


class InitFailed(Exception):
    """The function's own doing. `code`: AWS's StateReasonCode. `untaken`: it is not, the runtime was killed before it
    knew what to run."""

    def __init__(self, code: str, error_type: str, reason: str, untaken: bool = False) -> None:
        super().__init__(reason)
        self.code = code
        self.error_type = error_type
        self.reason = reason
        self.untaken = untaken


class Initializing:
    """Listens to the runtime of a template. `over`: done once it waits to be restored; InitFailed or Unfit."""

    def __init__(self, function: FunctionVersion, metadata: Metadata) -> None:
        loop = asyncio.get_running_loop()
        self.over: asyncio.Future[None] = loop.create_future()
        self._loop = loop
        self._extensions = ExtensionsApi(self, function)
        self.api = RuntimeApi(self, metadata, self._extensions)
        self.api.on_restore = self._restored

    def exited(self, exited: asyncio.Future[Exit]) -> None:
        if not exited.cancelled():
            exit = exited.result()
            code = "FunctionError.RuntimeInitError" if exit.refusal is None else "FunctionError.InvalidEntryPoint"
            self._fail(InitFailed(code, failures.exit_type(exit), failures.reason(exit), exit.untaken))

    def follow(self, sandbox: Sandbox) -> None:
        sandbox.exited.add_done_callback(lambda exited: self._loop.call_later(_LEAVE, self.exited, exited))

    def _fail(self, error: Exception) -> None:
        if not self.over.done():
            self.over.set_exception(error)
            self.over.exception()  # whoever waits hears of it; maybe nobody does any more

    def _restored(self) -> None:
        if self._extensions.table.all:
            self._fail(Unfit("it has extensions"))
        elif not self.over.done():
            self.over.set_result(None)

    # runtime_api.Listener

    def asked(self) -> None:
        self._fail(Unfit("its runtime can't be copied: it has threads, processes, or something open that is no file"))

    def init_failed(self, body: bytes, error_type: str) -> None:
        shown = failures.error_type(error_type)
        message = ""
        try:
            posted = orjson.loads(body)
            message = f"{posted['errorType']}: {posted['errorMessage']}"[:500]
        except (ValueError, KeyError, TypeError):
            pass
        self._fail(InitFailed("FunctionError.RuntimeInitError", shown, message or shown))

    def subscribe(self, api: Api, identifier: str, body: bytes) -> None:
        raise Refused(403, "Telemetry.NotSupported", "Telemetry API is not supported with SnapStart")

    def explained(self, cause: bytes) -> None:
        """As `answered`."""

    def answered(self, body: bytes | list[bytes] | Parcel, failed: bool) -> None:
        """Out of turn before the first event: never called."""

    def answer_too_large(self) -> None:
        """As `answered`."""

    def streamed(self, error: tuple[str, bytes] | None) -> None:
        """As `answered`."""

    def broke_off(self) -> None:
        """As `answered`."""

    def read(self) -> None:
        """Nobody waits for more."""

    # extensions_api.Listener

    def extension_registered(self) -> None:
        """Seen at the end."""

    def extension_asked(self) -> None:
        """Seen at the end."""

    def extension_failed(self, extension: Extension) -> None:
        self._fail(InitFailed("FunctionError.ExtensionInitError", extension.error_type or "", "an extension failed"))
