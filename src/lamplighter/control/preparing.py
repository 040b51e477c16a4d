"""Workers that have the packages of a function unpacked before they make an environment of it.

Usually they are: `settling` sees to it before a function is Active. After the machine has restarted, or when somebody
has emptied the cache, the first environment of each function waits here.
"""

from lamplighter.control.code import Code
from lamplighter.model.errors import InvalidParameterValueException
from lamplighter.model.functions import FunctionVersion
from lamplighter.store.contract import BlobDamaged
from lamplighter.worker.contract import Environment, Initialization, WorkerError, Workers


class Preparing:
    """Implements the Workers contract around another."""

    def __init__(self, workers: Workers, code: Code) -> None:
        self._workers = workers
        self._code = code

    async def start(self, function: FunctionVersion, initialization: Initialization = "on-demand") -> Environment:
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
