"""Entry of the managed Python runtime: import this once, fork, and call `main()` in each environment's process.

`main` expects os.environ to be the function's environment, the working directory to be the task root, and descriptors
1 and 2 to be the log pipe, with sys.stdout and sys.stderr on them in UTF-8. It never returns: it ends the process as
the interpreter would have (exit code, traceback, atexit, threads), so nothing of the caller's runs after the function.
Started as a program instead (a fresh interpreter, an exec wrapper), it does the same.
"""

import os
import sys

_HERE = os.path.dirname(os.path.abspath(__file__))

sys.path.insert(0, _HERE)
try:
    # Resolved by the path above: this directory is /var/runtime, not a package, when it runs.
    from _lamplighter.rehearsals import rehearsals  # pyright: ignore[reportMissingImports, reportUnknownVariableType]
    from _lamplighter.run import main  # pyright: ignore[reportMissingImports, reportUnknownVariableType]
    from _lamplighter.sdk import preload  # pyright: ignore[reportMissingImports, reportUnknownVariableType]
finally:
    sys.path.remove(_HERE)

__all__ = ["main", "preload", "rehearsals"]

if __name__ == "__main__":
    main()
