"""PublishLayerVersion and its kin on the wire. The rules are in `control/layers.py` and `control/layer_policies.py`."""

import base64
from collections.abc import Mapping
from typing import Any

from lamplighter.api.downloads import Downloads
from lamplighter.api.functions import source
from lamplighter.api.http import Call, Operation
from lamplighter.control.layer_policies import LayerPolicies
from lamplighter.control.layers import Compatible, Layers
from lamplighter.control.policies import to_text
from lamplighter.model.errors import ResourceNotFoundException
from lamplighter.model.layers import About, LayerVersion
from lamplighter.model.names import LayerVersionRef, layer_version, parse_layer_name, parse_layer_version

Members = dict[str, Any]


class LayerOperations:
    def __init__(self, layers: Layers, policies: LayerPolicies, downloads: Downloads) -> None:
        self._layers = layers
        self._policies = policies
        self._downloads = downloads

    def operations(self) -> Mapping[str, Operation]:
        return {
            "AddLayerVersionPermission": self.add_layer_version_permission,
            "DeleteLayerVersion": self.delete_layer_version,
            "GetLayerVersion": self.get_layer_version,
            "GetLayerVersionByArn": self.get_layer_version_by_arn,
            "GetLayerVersionPolicy": self.get_layer_version_policy,
            "ListLayerVersions": self.list_layer_versions,
            "ListLayers": self.list_layers,
            "PublishLayerVersion": self.publish_layer_version,
            "RemoveLayerVersionPermission": self.remove_layer_version_permission,
        }

    async def publish_layer_version(self, call: Call, members: Members) -> Members:
        runtimes, architectures = members.get("CompatibleRuntimes"), members.get("CompatibleArchitectures")
        version = await self._layers.publish(
            call.account,
            parse_layer_name(members["LayerName"], call.account, call.region),
            source(members["Content"]),
            About(
                members.get("Description") or "",
                members.get("LicenseInfo"),
                None if runtimes is None else tuple(runtimes),
                None if architectures is None else tuple(architectures),
            ),
        )
        return self._whole(call, version)

    async def get_layer_version(self, call: Call, members: Members) -> Members:
        return self._whole(call, await self._layers.get(call.account, _ref(call, members)))

    async def get_layer_version_by_arn(self, call: Call, members: Members) -> Members:
        ref = parse_layer_version(members["Arn"])
        if ref is None or ref.layer.region != call.region:
            raise ResourceNotFoundException("The resource you requested does not exist.")
        return self._whole(call, await self._layers.get(call.account, layer_version(ref.layer, ref.version)))

    async def delete_layer_version(self, call: Call, members: Members) -> Members:
        await self._layers.delete(call.account, _ref(call, members))
        return {}

    async def list_layers(self, call: Call, members: Members) -> Members:
        page, marker = await self._layers.page(
            call.account, call.region, _compatible(members), members.get("Marker"), members.get("MaxItems")
        )
        layers = [
            {
                "LayerName": version.ref.layer.name,
                "LayerArn": version.ref.layer.arn,
                "LatestMatchingVersion": _listed(version),
            }
            for version in page
        ]
        return {"Layers": layers, "NextMarker": marker}

    async def list_layer_versions(self, call: Call, members: Members) -> Members:
        page, marker = await self._layers.versions(
            call.account,
            parse_layer_name(members["LayerName"], call.account, call.region),
            _compatible(members),
            members.get("Marker"),
            members.get("MaxItems"),
        )
        return {"LayerVersions": [_listed(version) for version in page], "NextMarker": marker}

    async def add_layer_version_permission(self, call: Call, members: Members) -> Members:
        statement, revision = await self._policies.add(
            call.account,
            _ref(call, members),
            members["StatementId"],
            members["Action"],
            members["Principal"],
            members.get("OrganizationId"),
            members.get("RevisionId"),
        )
        return {"Statement": to_text(statement), "RevisionId": revision}

    async def get_layer_version_policy(self, call: Call, members: Members) -> Members:
        policy, revision = await self._policies.get(call.account, _ref(call, members))
        return {"Policy": policy, "RevisionId": revision}

    async def remove_layer_version_permission(self, call: Call, members: Members) -> Members:
        await self._policies.remove(
            call.account, _ref(call, members), members["StatementId"], members.get("RevisionId")
        )
        return {}

    def _whole(self, call: Call, version: LayerVersion) -> Members:
        package = version.package
        content = {
            "Location": self._downloads.url(call.endpoint, package.digest),
            "CodeSha256": base64.b64encode(bytes.fromhex(package.digest)).decode(),
            "CodeSize": package.size,
        }
        return {"Content": content, "LayerArn": version.ref.layer.arn, **_listed(version)}


def _ref(call: Call, members: Members) -> LayerVersionRef:
    layer = parse_layer_name(members["LayerName"], call.account, call.region)
    return layer_version(layer, members["VersionNumber"])


def _compatible(members: Members) -> Compatible:
    return Compatible(members.get("CompatibleRuntime"), members.get("CompatibleArchitecture"))


def _listed(version: LayerVersion) -> Members:
    """As lists show it. Members that are None do not travel."""
    about = version.about
    return {
        "LayerVersionArn": version.ref.arn,
        "Version": version.ref.version,
        "Description": about.description,
        "CreatedDate": version.created,
        "CompatibleArchitectures": about.architectures,
        "CompatibleRuntimes": about.runtimes,
        "LicenseInfo": about.license,
    }
