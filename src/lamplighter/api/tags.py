"""TagResource, UntagResource and ListTags on the wire. The rules are in `control/tags.py`."""

from collections.abc import Mapping
from typing import Any

from lamplighter.api.http import Call, Operation
from lamplighter.control.tags import Tags, parse

Members = dict[str, Any]


class TagOperations:
    def __init__(self, tags: Tags) -> None:
        self._tags = tags

    def operations(self) -> Mapping[str, Operation]:
        return {"ListTags": self.list_tags, "TagResource": self.tag_resource, "UntagResource": self.untag_resource}

    async def list_tags(self, call: Call, members: Members) -> Members:
        resource = parse(members["Resource"], call.account, call.region)
        return {"Tags": dict(await self._tags.get(resource))}

    async def tag_resource(self, call: Call, members: Members) -> Members:
        await self._tags.add(parse(members["Resource"], call.account, call.region), members["Tags"])
        return {}

    async def untag_resource(self, call: Call, members: Members) -> Members:
        await self._tags.remove(parse(members["Resource"], call.account, call.region), members["TagKeys"])
        return {}
