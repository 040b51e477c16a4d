"""Functions as values: what a function version is, however it is stored, shown or run.

Members that only tools read (VpcConfig, FileSystemConfigs, …) stay mappings in AWS's own spelling: we keep and return
them, rules about them live in `control/`, and a new member of the service model needs no change here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

LATEST = "$LATEST"

State = Literal[
    "Pending", "Active", "Inactive", "Failed", "Deactivating", "Deactivated", "ActiveNonInvocable", "Deleting"
]
UpdateStatus = Literal["InProgress", "Successful", "Failed"]


@dataclass(frozen=True, slots=True)
class FunctionId:
    """Whose function: names are unique per account and region."""

    account: str
    region: str
    name: str

    def __hash__(self) -> int:
        return hash(self.name)  # every call looks for its function in some dictionaries

    @property
    def arn(self) -> str:
        """The unqualified function ARN."""
        return f"arn:aws:lambda:{self.region}:{self.account}:function:{self.name}"


@dataclass(frozen=True, slots=True)
class CodePackage:
    """A package in the blob store: `digest` is the hex SHA-256 of the zip, `size` its bytes, `unzipped` what comes out
    of it (0: not known)."""

    digest: str
    size: int
    unzipped: int = 0


@dataclass(frozen=True, slots=True)
class LayerRef:
    """A layer version as attached to a function: its ARN, and its package once it is known."""

    arn: str
    package: CodePackage


@dataclass(frozen=True, slots=True)
class FunctionVersion:
    """Code and configuration of one version ($LATEST or a number): all that is needed to show it and to run it.

    Equal `generation` means equal code and configuration as far as running goes: it grows with every accepted change,
    and environments of an older generation are retired. `revision` is the RevisionId, which changes more often.
    """

    id: FunctionId
    version: str
    generation: int
    revision: str
    role: str
    code: CodePackage
    runtime: str | None
    handler: str | None
    last_modified: str  # as on the wire: 2026-01-02T03:04:05.678+0000
    description: str = ""
    timeout: int = 3  # seconds, 1 to 900
    memory_size: int = 128  # MB
    ephemeral_storage: int = 512  # MB of /tmp
    package_type: Literal["Zip", "Image"] = "Zip"
    architectures: tuple[str, ...] = ("x86_64",)
    environment: Mapping[str, str] | None = None  # None: never set; {}: set and empty, which shows on the wire
    layers: tuple[LayerRef, ...] = ()
    tracing_mode: str = "PassThrough"
    log_format: Literal["Text", "JSON"] = "Text"
    log_group: str = ""
    application_log_level: str | None = None
    system_log_level: str | None = None
    snap_start: str = "None"
    snap_start_on: bool = False  # its environments are copies of an initialised one
    kms_key_arn: str | None = None
    source_kms_key_arn: str | None = None  # the key that the package is to be encrypted with
    dead_letter_arn: str | None = None
    runtime_version_arn: str | None = None
    state: State = "Pending"
    state_reason: str | None = None
    state_reason_code: str | None = None
    last_update_status: UpdateStatus | None = None
    last_update_reason: str | None = None
    last_update_reason_code: str | None = None
    other: Mapping[str, Any] = field(default_factory=dict[str, Any])  # further members, in AWS's spelling

    @property
    def arn(self) -> str:
        """The qualified ARN of this version."""
        return f"{self.id.arn}:{self.version}"
