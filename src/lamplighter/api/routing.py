"""Finds the operation of a request by its method and its raw path.

Raw, because a label may hold an encoded slash (ARNs of durable executions do): labels are decoded once the route is
known. The URIs are the service model's; a query in one (`?find=LayerVersion`) tells operations of the same path apart.
"""

from collections.abc import Mapping
from typing import Generic, TypeVar
from urllib.parse import parse_qsl, unquote

from lamplighter.model.errors import AccessDeniedException

Target = TypeVar("Target")


def unknown_route() -> AccessDeniedException:
    """AWS authorises before it routes, so what it cannot route is what it cannot authorise."""
    return AccessDeniedException("Unable to determine service/operation name to be authorized")


class Node(Generic[Target]):
    """One segment of the known URIs: a literal, or a label of any text."""

    __slots__ = ("label", "literals", "routes")

    def __init__(self) -> None:
        self.literals: dict[str, Node[Target]] = {}
        self.label: Node[Target] | None = None
        # By method: the query that must be there, the names of the labels, the target. Longest query first.
        self.routes: dict[str, list[tuple[frozenset[tuple[str, str]], tuple[str, ...], Target]]] = {}


class Router(Generic[Target]):
    def __init__(self) -> None:
        self._root: Node[Target] = Node()

    def add(self, method: str, uri: str, target: Target) -> None:
        """`uri` as the service model writes it: `/date/functions/{FunctionName}/…?query`."""
        path, _, query = uri.partition("?")
        node = self._root
        labels: list[str] = []
        for segment in path.strip("/").split("/"):
            if segment.startswith("{"):
                labels.append(segment.strip("{}"))
                node.label = node.label or Node()
                node = node.label
            else:
                node = node.literals.setdefault(segment, Node())
        wanted = frozenset(parse_qsl(query, keep_blank_values=True))
        routes = node.routes.setdefault(method, [])
        routes.append((wanted, tuple(labels), target))
        routes.sort(key=lambda route: -len(route[0]))

    def find(self, method: str, path: str, query: str) -> tuple[Target, dict[str, str]]:
        """The target and the decoded labels. Raises AccessDeniedException when there is none."""
        segments = path.removesuffix("/").split("/")
        values: list[str] = []
        node = self._root
        for segment in segments[1:] if not segments[0] else ():
            literal = node.literals.get(segment)
            if literal is not None:
                node = literal
            elif node.label is not None and segment:
                node = node.label
                values.append(segment)
            else:
                raise unknown_route()
        for wanted, labels, target in node.routes.get(method, ()):
            if not wanted or wanted <= query_items(query):
                return target, {name: decode(value) for name, value in zip(labels, values, strict=True)}
        raise unknown_route()


def decode(text: str) -> str:
    """Percent-decoding of labels and queries. A plus is a plus: SigV4 reads it so, and we act on what was signed."""
    return unquote(text) if "%" in text else text


def query_items(query: str) -> set[tuple[str, str]]:
    return {(name, value) for name, values in read_query(query).items() for value in values}


def read_query(query: str) -> Mapping[str, list[str]]:
    """Decoded names and values, in order; a name alone has the value ""."""
    items: dict[str, list[str]] = {}
    for item in query.split("&"):
        if item:
            name, _, value = item.partition("=")
            items.setdefault(decode(name), []).append(decode(value))
    return items
