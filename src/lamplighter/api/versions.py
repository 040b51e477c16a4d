"""PublishVersion and ListVersionsByFunction on the wire. The rules are in `control/versions.py`."""

from collections.abc import Mapping
from typing import Any

from lamplighter.api.functions import configuration, listed
from lamplighter.api.http import Call, Operation
from lamplighter.control.versions import Versions
from lamplighter.model.names import parse_unqualified

Members = dict[str, Any]


class VersionOperations:
    def __init__(self, versions: Versions) -> None:
        self._versions = versions

    def operations(self) -> Mapping[str, Operation]:
        return {"ListVersionsByFunction": self.list_versions_by_function, "PublishVersion": self.publish_version}

    async def publish_version(self, call: Call, members: Members) -> Members:
        version = await self._versions.publish(
            parse_unqualified(members["FunctionName"], call.account, call.region),
            members.get("CodeSha256"),
            members.get("Description"),
            members.get("RevisionId"),
            members.get("PublishTo"),
        )
        return configuration(version, version.version)

    async def list_versions_by_function(self, call: Call, members: Members) -> Members:
        page, marker = await self._versions.page(
            parse_unqualified(members["FunctionName"], call.account, call.region),
            members.get("Marker"),
            members.get("MaxItems"),
        )
        answer: Members = {"Versions": [listed(version, version.version) for version in page]}
        if marker is not None:
            answer["NextMarker"] = marker
        return answer
