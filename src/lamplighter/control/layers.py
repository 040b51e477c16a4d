"""Layers: the rules of publishing, finding, deleting and attaching their versions (AWS: spec 1.9, 8).

A version is kept as a record with its package; the number last given is kept too, and outlives every version. A
function that uses a version needs the package by itself: the version may go, and the function runs on.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from lamplighter.control import layer_policies, markers
from lamplighter.control.code import Code
from lamplighter.control.sources import Source, Sources
from lamplighter.model.clock import Clock, wire_time
from lamplighter.model.errors import InvalidParameterValueException, ResourceNotFoundException
from lamplighter.model.functions import FunctionId, LayerRef
from lamplighter.model.layers import KIND, About, LayerVersion, from_document, to_document
from lamplighter.model.names import LayerId, LayerVersionRef, parse_layer_version
from lamplighter.store.contract import Document, Record, Records, RecordTransaction, RecordView

LARGEST_PAGE: Final = 50
MOST_LAYERS: Final = 5  # of a function

LAST: Final = "layer"  # record of the number last given: owner is the layer's name, the key is empty


@dataclass(frozen=True, slots=True)
class Compatible:
    """Which versions a list is about: those whose publisher names this runtime and architecture. None: any."""

    runtime: str | None = None
    architecture: str | None = None

    def matches(self, document: Mapping[str, Any]) -> bool:
        return (self.runtime is None or self.runtime in (document["runtimes"] or ())) and (
            self.architecture is None or self.architecture in (document["architectures"] or ())
        )


class Layers:
    """`caller`: account id."""

    def __init__(self, records: Records, code: Code, sources: Sources, clock: Clock) -> None:
        self._records = records
        self._code = code
        self._sources = sources
        self._clock = clock

    async def publish(self, caller: str, layer: LayerId, source: Source, about: About) -> LayerVersion:
        """The next version."""
        layer_policies.check_owner(caller, layer, "PublishLayerVersion")
        content = await self._sources.content(source, layer.account, layer.region, "layer content")
        async with self._code.keeping(content.zip, content.unzipped) as package:

            def run(transaction: RecordTransaction) -> LayerVersion:
                number = (transaction.get(LAST, layer.name, "") or {"number": 0})["number"] + 1
                version = LayerVersion(LayerVersionRef(layer, number), package, wire_time(self._clock.now()), about)
                transaction.put(LAST, layer.name, "", {"number": number}, of_function=False)
                document = to_document(version)
                transaction.put(KIND, layer.name, str(number), document, of_function=False, package=package)
                return version

            return await self._records.transact(layer.account, layer.region, run)

    async def get(self, caller: str, ref: LayerVersionRef) -> LayerVersion:
        """Also another account's, if its policy allows that."""
        view = self._records.view(ref.layer.account, ref.layer.region)
        if not layer_policies.allows(view, ref, caller):
            raise layer_policies.denied(caller, "GetLayerVersion", ref.arn)
        found = find(view, ref)
        if found is None:
            raise ResourceNotFoundException("The resource you requested does not exist.")
        return found

    async def delete(self, caller: str, ref: LayerVersionRef) -> None:
        """One that does not exist is as good as deleted."""
        layer = ref.layer
        layer_policies.check_owner(caller, layer, "DeleteLayerVersion", ref.arn)

        def run(transaction: RecordTransaction) -> Document | None:
            layer_policies.forget(transaction, ref)
            return transaction.delete(KIND, layer.name, str(ref.version))

        deleted = await self._records.transact(layer.account, layer.region, run)
        if deleted is not None:
            await self._code.free((deleted["digest"],))

    async def page(
        self, account: str, region: str, which: Compatible, marker: str | None, limit: int | None
    ) -> tuple[Sequence[LayerVersion], str | None]:
        """Layers by name, each as the newest version of those asked for; and the marker of the next page."""
        view = self._records.view(account, region)
        limit = min(limit or LARGEST_PAGE, LARGEST_PAGE)
        after = markers.read("ListLayers", marker, 1)[0] if marker else ""
        found: list[LayerVersion] = []
        while len(found) <= limit and (layers := view.page(LAST, None, (after, ""), LARGEST_PAGE)):
            after = layers[-1].owner
            for layer in layers:
                found += islice(_newest_first(view, layer.owner, None, which), 1)
        more = len(found) > limit
        return found[:limit], markers.make("ListLayers", found[limit - 1].ref.layer.name) if more else None

    async def versions(
        self, caller: str, layer: LayerId, which: Compatible, marker: str | None, limit: int | None
    ) -> tuple[Sequence[LayerVersion], str | None]:
        """The versions asked for, the newest first, and the marker of the next page. No layer: no versions."""
        layer_policies.check_owner(caller, layer, "ListLayerVersions")
        view = self._records.view(layer.account, layer.region)
        limit = min(limit or LARGEST_PAGE, LARGEST_PAGE)
        before = markers.read("ListLayerVersions", marker, 1)[0] if marker else None
        found = list(islice(_newest_first(view, layer.name, before, which), limit + 1))
        more = len(found) > limit
        return found[:limit], markers.make("ListLayerVersions", str(found[limit - 1].ref.version)) if more else None


def find(view: RecordView, ref: LayerVersionRef) -> LayerVersion | None:
    """`view`: of the layer's account and region."""
    document = view.get(KIND, ref.layer.name, str(ref.version))
    return None if document is None else from_document(ref, document)


def attached(records: Records, function: FunctionId, arns: Sequence[str]) -> tuple[LayerRef, ...]:
    """The layer versions that a function is to have, in the order given. Raises what AWS says of those it cannot."""
    if len(arns) > MOST_LAYERS:
        raise InvalidParameterValueException(f"Cannot reference more than {MOST_LAYERS} layers.")
    refs: dict[LayerId, LayerVersionRef] = {}
    for arn in arns:
        ref = parse_layer_version(arn)
        if ref is None:
            raise _missing(arn)
        if ref.layer.region != function.region:
            raise InvalidParameterValueException(
                "Layers are not in the same region as the function. "
                f"Layers are expected to be in region {function.region}."
            )
        if ref.layer in refs:
            raise InvalidParameterValueException(
                "Two different versions of the same layer are not allowed to be referenced in the same function. "
                f"{refs[ref.layer].arn} and {arn} are versions of the same layer."
            )
        refs[ref.layer] = ref
    return tuple(_attached(records, function, ref) for ref in refs.values())


def _attached(records: Records, function: FunctionId, ref: LayerVersionRef) -> LayerRef:
    view = records.view(ref.layer.account, ref.layer.region)
    if not layer_policies.allows(view, ref, function.account):
        raise layer_policies.denied(function.account, "GetLayerVersion", ref.arn)
    found = find(view, ref)
    if found is None:
        raise _missing(ref.arn)
    return LayerRef(ref.arn, found.package)


def _missing(arn: str) -> InvalidParameterValueException:
    return InvalidParameterValueException(f"Layer version {arn} does not exist.")


def _newest_first(view: RecordView, name: str, before: str | None, which: Compatible) -> Iterator[LayerVersion]:
    """Versions in front of a number. The newest is mostly all that is asked for, so it is read alone."""
    layer = LayerId(view.account, view.region, name)
    size = 1
    while records := view.page_backwards(KIND, name, before, size):
        yield from (_version(layer, record) for record in records if which.matches(record.document))
        before, size = records[-1].key, LARGEST_PAGE


def _version(layer: LayerId, record: Record) -> LayerVersion:
    return from_document(LayerVersionRef(layer, int(record.key)), record.document)
