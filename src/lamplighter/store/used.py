"""What a bill is made of, read from the files of a data directory: usage by day, and the tags of its functions."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from lamplighter.model.metering import Key, Totals
from lamplighter.store.directory import DataDirectory
from lamplighter.store.looking import tags
from lamplighter.store.usage import Owner, Tags, kept_tags, usage_by_day


class Used(NamedTuple):
    """`usage`: by function and day, the `hour` of a key being its day's first. `tags`: those of now, and of deleted
    functions the last ones."""

    usage: Sequence[tuple[Key, Totals]]
    tags: Mapping[Owner, Tags]


def used(directory: DataDirectory, first: int, last: int, tagged: bool = True) -> Used:
    """From the hour `first` until before `last`. Changes nothing; a server may have it open. Raises CannotLook."""
    usage = usage_by_day(directory.usage, first, last)
    if not usage or not tagged:
        return Used(usage, {})
    return Used(usage, {**kept_tags(directory.usage), **tags(directory.database)})
