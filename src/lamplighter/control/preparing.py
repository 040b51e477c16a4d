"""Workers that have the packages of a function unpacked before they make an environment of it.

Usually they are: `settling` sees to it before a function is Active. After the machine has restarted, or when somebody
has emptied the cache, the first environment of each function waits here. A function whose runtime has left this host
since it was created is refused here, as it would be if it were created now.
"""

from collections.abc import Callable

from lamplighter.control.code import Code
from lamplighter.model.errors import InvalidParameterValueException, InvalidRuntimeException
from lamplighter.model.functions import FunctionVersion
from lamplighter.store.contract import BlobDamaged
from lamplighter.worker.contract import Environment, Initialization, WorkerError, Workers


class Preparing:
    """Implements the Workers contract around another.

    `remedy`: None for a function whose runtime this host has, else a sentence that says how to get it."""

    def __init__(self, workers: Workers, code: Code, remedy: Callable[[FunctionVersion], str | None]) -> None:
        self._workers = workers
        self._code = code
        self._remedy = remedy

    async def start(self, function: FunctionVersion, initialization: Initialization = "on-demand") -> Environment:
        """Raises InvalidRuntimeException, too."""
        remedy = self._remedy(function)
        if remedy is not None:
            raise InvalidRuntimeException(remedy)
        for package in (function.code, *(layer.package for layer in function.layers)):
            try:
                await self._code.ensure(package.digest)
            except (OSError, BlobDamaged, InvalidParameterValueException) as error:
                raise WorkerError(
                    f"the package {package.digest} of {function.arn} cannot be unpacked: {error}"
                ) from error
        return await self._workers.start(function, initialization)

    async def close(self) -> None:
        await self._workers.close()
