"""Finds the function: the path modules are looked for on, and the handler by its name (AWS: spec 2.3)."""

from __future__ import annotations

import importlib
import os
import site
import sys
from typing import Any

from .faults import Fault

# What a fork server has imported and AWS's runtime has not: here the function's own module of that name wins.
_FORK_SERVER_MODULES = (
    "array", "ast", "base64", "binascii", "bootstrap", "copy", "ctypes", "dataclasses", "dis", "fcntl", "grp",
    "inspect", "mmap", "opcode", "pwd", "resource", "select", "selectors", "signal", "socket", "struct", "typing",
)  # fmt: skip


def set_search_path(environ: Any) -> None:
    """Task root, layers, runtime, standard library, AWS's SDK; nothing of the host's installed packages.

    A PYTHONPATH of the user's own stands in for the layers. `.pth` files in task root and layers work."""
    task_root = environ["LAMBDA_TASK_ROOT"]
    runtime = environ.get("LAMBDA_RUNTIME_DIR", "/var/runtime")
    major, minor = sys.version_info[:2]
    own = [entry for entry in environ.get("PYTHONPATH", "").split(":") if entry not in ("", runtime)]
    layers = [] if own else [f"/opt/python/lib/python{major}.{minor}/site-packages", "/opt/python"]
    sdk = environ.pop("LAMPLIGHTER_SDK", runtime + "/sdk")
    library = os.path.dirname(os.__file__)
    standard = [
        entry
        for entry in sys.path
        if (entry == library or entry.startswith(library + os.sep) or entry.endswith(".zip"))
        and not entry.endswith("-packages")
    ]
    sys.path[:] = [task_root, *layers, runtime, *own, *standard, *([sdk] if os.path.isdir(sdk) else [])]
    for directory in (task_root, *layers):
        site.addsitedir(directory)
    environ.setdefault("PYTHONPATH", runtime)
    _forget_shadowed(task_root)


def _forget_shadowed(task_root: str) -> None:
    names = {entry[:-3] if entry.endswith(".py") else entry for entry in os.listdir(task_root)}
    for name in names.intersection(_FORK_SERVER_MODULES):
        for module in [key for key in sys.modules if key == name or key.startswith(name + ".")]:
            del sys.modules[module]


def find(handler: str) -> Any:
    """The object named `handler`, such as `module.function` or `package/module.function`. Raises Fault, or whatever the
    module raises while it is imported."""
    module_name, dot, name = handler.rpartition(".")
    if not dot:
        raise Fault(
            "Runtime.MalformedHandlerName", f"Bad handler '{handler}': not enough values to unpack (expected 2, got 1)"
        )
    if module_name.split(".")[0] in sys.builtin_module_names:
        raise Fault("Runtime.BuiltInModuleConflict", f"Cannot use built-in module {module_name} as a handler module")
    try:
        module = importlib.import_module(module_name.replace("/", "."))
    except ImportError as error:
        raise Fault("Runtime.ImportModuleError", f"Unable to import module '{module_name}': {error}") from None
    except SyntaxError as error:
        stack = [f'  File "{error.filename}" Line {error.lineno}\n    {error.text}']
        raise Fault("Runtime.UserCodeSyntaxError", f"Syntax error in module '{module_name}': {error}", stack) from None
    try:
        return getattr(module, name)
    except AttributeError:
        raise Fault("Runtime.HandlerNotFound", f"Handler '{name}' missing on module '{module_name}'") from None
