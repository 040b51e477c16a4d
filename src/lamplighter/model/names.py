"""Names, ARNs and qualifiers of functions and layers in all forms that AWS accepts (AWS: spec 1.3).

A function is named `name`, `acct:name`, `acct:function:name` or by its ARN, each with or without `:qualifier`. What is
refused here is refused in AWS's words, so callers need not check again.
"""

import re
from dataclasses import dataclass
from typing import Literal

from lamplighter.model.errors import (
    AccessDeniedException,
    InvalidParameterValueException,
    ResourceNotFoundException,
    ValidationException,
)
from lamplighter.model.functions import LATEST, FunctionId

LATEST_PUBLISHED = "$LATEST.PUBLISHED"

REGION = r"(eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}"

# As AWS prints it (NamespacedFunctionName of the service model).
FUNCTION_NAME_PATTERN = (
    rf"(arn:(aws[a-zA-Z-]*)?:lambda:)?({REGION}:)?(\d{{12}}:)?(function:)?"
    r"([a-zA-Z0-9-_\.]+)(:(\$LATEST(\.PUBLISHED)?|[a-zA-Z0-9-_]+))?"
)
# The same with names for its parts: the account is optional in the short forms, and so is the region in front of it.
FUNCTION_NAME = re.compile(
    rf"(arn:(aws[a-zA-Z-]*)?:lambda:)?((?P<region>{REGION}):)?((?P<account>\d{{12}}):)?(function:)?"
    r"(?P<name>[a-zA-Z0-9\-_.]+)(:(?P<qualifier>\$LATEST(\.PUBLISHED)?|[a-zA-Z0-9\-_]+))?",
    re.ASCII,
)
PLAIN_NAME = re.compile(r"[a-zA-Z0-9\-_.]+", re.ASCII)
LONGEST_NAME = 64

LAYER = re.compile(
    rf"arn:(aws[a-zA-Z-]*)?:lambda:(?P<region>{REGION}):(?P<account>\d{{12}}):layer:(?P<name>[a-zA-Z0-9\-_]+)"
    r"(:(?P<version>[0-9]{1,18}))?",
    re.ASCII,
)
LAYER_NAME = re.compile(r"[a-zA-Z0-9\-_]+", re.ASCII)
ALIAS = re.compile(r"(?![0-9]+$)[a-zA-Z0-9\-_]{1,128}", re.ASCII)
VERSION = re.compile(r"[0-9]+", re.ASCII)

DERIVED_MISMATCH = "The derived qualifier from the function name does not match the specified qualifier."
UNQUALIFIED_ONLY = (
    "This operation is permitted on Lambda functions only. Aliases and versions do not support this operation. "
    "Please specify either a function name or an unqualified function ARN."
)


@dataclass(frozen=True, slots=True)
class FunctionRef:
    """A function as a request names it; `qualifier`: None if it names none."""

    id: FunctionId
    qualifier: str | None = None

    @property
    def arn(self) -> str:
        """Qualified if the request was."""
        return self.id.arn if self.qualifier is None else f"{self.id.arn}:{self.qualifier}"


@dataclass(frozen=True, slots=True)
class LayerId:
    """Whose layer."""

    account: str
    region: str
    name: str

    @property
    def arn(self) -> str:
        return f"arn:aws:lambda:{self.region}:{self.account}:layer:{self.name}"


@dataclass(frozen=True, slots=True)
class LayerVersionRef:
    layer: LayerId
    version: int

    @property
    def arn(self) -> str:
        return f"{self.layer.arn}:{self.version}"


def parse_function_name(text: str, qualifier: str | None, account: str, region: str) -> FunctionRef:
    """The function that `text` and the Qualifier parameter, if there is one, name for a caller in account and region.

    Raises AccessDenied for another account's function, ResourceNotFound for another region's, InvalidParameterValue
    when both name a qualifier and not the same, ValidationException for what is no name at all."""
    if ":" not in text and PLAIN_NAME.fullmatch(text):  # the hot path
        return FunctionRef(FunctionId(account, region, text), qualifier or None)
    match = FUNCTION_NAME.fullmatch(text)
    if match is None:
        raise ValidationException(
            f"1 validation error detected: Value '{text}' at 'functionName' failed to satisfy constraint: "
            f"Member must satisfy regular expression pattern: {FUNCTION_NAME_PATTERN}"
        )
    if match["account"] not in (None, account):
        raise AccessDeniedException()
    if match["region"] not in (None, region):
        raise ResourceNotFoundException(
            f"Functions from '{match['region']}' are not reachable in this region ('{region}')"
        )
    derived = match["qualifier"]
    if derived and qualifier and derived != qualifier:
        raise InvalidParameterValueException(DERIVED_MISMATCH)
    return FunctionRef(FunctionId(account, region, match["name"]), qualifier or derived)


def parse_unqualified(text: str, account: str, region: str) -> FunctionId:
    """For operations on a function as a whole: a qualifier is refused (AWS: spec 1.3)."""
    function = parse_function_name(text, None, account, region)
    if function.qualifier is not None:
        raise InvalidParameterValueException(UNQUALIFIED_ONLY)
    return function.id


def check_new_name(name: str) -> None:
    """The name of a function to be created. AWS words this like its first validation layer, but it is of its second."""
    if len(name) > LONGEST_NAME:
        raise InvalidParameterValueException(
            f"1 validation error detected: Value '{name}' at 'functionName' failed to satisfy constraint: "
            f"Member must have length less than or equal to {LONGEST_NAME}"
        )


def kind_of_qualifier(qualifier: str) -> Literal["latest", "version", "alias"]:
    """`latest` also for $LATEST.PUBLISHED."""
    if qualifier in (LATEST, LATEST_PUBLISHED):
        return "latest"
    return "version" if VERSION.fullmatch(qualifier) else "alias"


def is_alias(name: str) -> bool:
    """1 to 128 letters, digits, - and _, not all digits: those are versions."""
    return ALIAS.fullmatch(name) is not None


def parse_layer_name(text: str, account: str, region: str) -> LayerId:
    """A layer by name, or by an ARN, which may be another account's. Raises ResourceNotFound for another region's."""
    if LAYER_NAME.fullmatch(text):
        return LayerId(account, region, text)
    match = LAYER.fullmatch(text)
    if match is None or match["version"]:
        raise ResourceNotFoundException("The resource you requested does not exist.")
    if match["region"] != region:
        raise ResourceNotFoundException(
            f"Layers from '{match['region']}' are not reachable in this region ('{region}')"
        )
    return LayerId(match["account"], region, match["name"])


def layer_version(layer: LayerId, number: int) -> LayerVersionRef:
    if number < 1:
        raise InvalidParameterValueException("Layer Version Cannot be less than 1")
    return LayerVersionRef(layer, number)


def parse_layer_version(arn: str) -> LayerVersionRef | None:
    """A layer version by its ARN; None if it is none."""
    match = LAYER.fullmatch(arn)
    if match is None or not match["version"]:
        return None
    return LayerVersionRef(LayerId(match["account"], match["region"], match["name"]), int(match["version"]))
