"""Layer versions as values, and the form of the record that keeps one: under its layer's name and its number."""

from dataclasses import dataclass
from typing import Any, Final

from lamplighter.model.functions import CodePackage
from lamplighter.model.names import LayerVersionRef

KIND: Final = "layer_version"  # of the record: owner is the layer's name, the key is the number


@dataclass(frozen=True, slots=True)
class About:
    """What a publisher says of a version. None: nothing."""

    description: str = ""
    license: str | None = None
    runtimes: tuple[str, ...] | None = None
    architectures: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class LayerVersion:
    ref: LayerVersionRef
    package: CodePackage
    created: str  # as on the wire
    about: About = About()


def to_document(version: LayerVersion) -> dict[str, Any]:
    about, package = version.about, version.package
    return {
        "digest": package.digest,
        "size": package.size,
        "unzipped": package.unzipped,
        "created": version.created,
        "description": about.description,
        "license": about.license,
        "runtimes": about.runtimes,
        "architectures": about.architectures,
    }


def from_document(ref: LayerVersionRef, document: dict[str, Any]) -> LayerVersion:
    runtimes, architectures = document["runtimes"], document["architectures"]
    return LayerVersion(
        ref,
        CodePackage(document["digest"], document["size"], document["unzipped"]),
        document["created"],
        About(
            document["description"],
            document["license"],
            None if runtimes is None else tuple(runtimes),
            None if architectures is None else tuple(architectures),
        ),
    )
