"""AWS's hooks round a snapshot, for functions that import them: what is registered here is called before a version's
initialised runtime becomes the template of its environments, and in each of them before its first invocation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["register_after_restore", "register_before_snapshot"]


# Function, arguments, keyword arguments.
_before_snapshot: list[Any] = []
_after_restore: list[Any] = []


def register_before_snapshot(func: Callable[..., Any], *args: Any, **kwargs: Any) -> Callable[..., Any]:
    """Give it back, so that this can be used as a decorator."""
    _before_snapshot.append((func, args, kwargs))
    return func


def register_after_restore(func: Callable[..., Any], *args: Any, **kwargs: Any) -> Callable[..., Any]:
    """Give it back, so that this can be used as a decorator."""
    _after_restore.append((func, args, kwargs))
    return func


def get_before_snapshot() -> list[Any]:
    return _before_snapshot


def get_after_restore() -> list[Any]:
    return _after_restore
