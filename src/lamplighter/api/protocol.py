"""The REST-JSON wire of every operation, compiled from the service model that botocore ships.

`Wire` turns a request into an operation's input (routed, typed, validated) and an operation's output into a response.
It knows no operation by name, but for what AWS does otherwise than its model says. Operations are compiled when first
called, so that starting costs only the routes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import orjson

from lamplighter.api import service_model
from lamplighter.api.http import Response
from lamplighter.api.routing import Router, read_query
from lamplighter.api.shapes import Reader, Shapes, TextReader, Writer
from lamplighter.api.validation import Check, Checks, refuse
from lamplighter.model.errors import SerializationException

# The statuses AWS answers with where its model says another (AWS: spec 1.1).
STATUSES = {"DeleteFunction": 204}

JSON = ("Content-Type", "application/json")


@dataclass(frozen=True, slots=True)
class InputPlan:
    """Where the members of an input travel: label, query and header -> member and its reader; else in the body."""

    labels: tuple[tuple[str, str, TextReader], ...]
    query: Mapping[str, tuple[str, TextReader, bool]]  # True: a list, one query item per element
    headers: tuple[tuple[str, str, TextReader], ...]
    payload: str | None  # the member that is the whole body
    body: Reader | None  # None: no body, or the payload's bytes as they are
    check: Check | None


@dataclass(frozen=True, slots=True)
class OutputPlan:
    """The same for an output."""

    status: str | None  # the member that becomes the HTTP status
    headers: tuple[tuple[str, str], ...]
    payload: str | None
    body: Writer | None


class OperationModel:
    """One operation as the service model has it."""

    def __init__(self, name: str, definition: Mapping[str, Any], shapes: Shapes, checks: Checks) -> None:
        http: Mapping[str, Any] = definition["http"]
        self.name = name
        self.method: str = http["method"]
        self.uri: str = http["requestUri"]
        modelled: int = http.get("responseCode", 200)
        self.status = STATUSES.get(name, modelled)
        self.errors = tuple(error["shape"] for error in definition.get("errors", ()))
        self.input: str | None = definition.get("input", {}).get("shape")
        self.output: str | None = definition.get("output", {}).get("shape")
        self._shapes = shapes
        self._checks = checks

    def __repr__(self) -> str:
        return f"OperationModel({self.name})"

    @cached_property
    def input_plan(self) -> InputPlan:
        if self.input is None:
            return InputPlan((), {}, (), None, None, None)
        shapes = self._shapes
        labels: list[tuple[str, str, TextReader]] = []
        headers: list[tuple[str, str, TextReader]] = []
        query: dict[str, tuple[str, TextReader, bool]] = {}
        for member, definition in shapes.members(self.input).items():
            shape, wire_name = definition["shape"], shapes.wire_name(self.input, member)
            location = definition.get("location")
            if location == "uri":
                labels.append((wire_name, member, shapes.text_reader(shape)))
            elif location == "header":
                headers.append((wire_name.lower(), member, shapes.text_reader(shape)))
            elif location == "querystring":
                listed = shapes.definitions[shape]["type"] == "list"
                item = shapes.definitions[shape]["member"]["shape"] if listed else shape
                query[wire_name] = (member, shapes.text_reader(item), listed)
        payload, whole = self._payload(self.input)
        json = whole if payload else self.input if shapes.body_members(self.input) else None
        body = shapes.reader(json) if json else None
        return InputPlan(tuple(labels), query, tuple(headers), payload, body, self._checks.of(self.input))

    @cached_property
    def output_plan(self) -> OutputPlan:
        if self.output is None:
            return OutputPlan(None, (), None, None)
        shapes = self._shapes
        status = None
        headers: list[tuple[str, str]] = []
        for member, definition in shapes.members(self.output).items():
            if definition.get("location") == "statusCode":
                status = member
            elif definition.get("location") == "header":
                headers.append((member, shapes.wire_name(self.output, member)))
        payload, whole = self._payload(self.output)
        # A structure without members in its body is {}, unless it has a status instead.
        own = self.output if shapes.body_members(self.output) or status is None else None
        json = whole if payload else own
        return OutputPlan(status, tuple(headers), payload, shapes.writer(json) if json else None)

    def _payload(self, structure: str) -> tuple[str | None, str | None]:
        """The member that is the whole body, if there is one, and its shape, if it is a structure."""
        payload: str | None = self._shapes.definitions[structure].get("payload")
        if payload is None:
            return None, None
        shape: str = self._shapes.members(structure)[payload]["shape"]
        return payload, shape if self._shapes.definitions[shape]["type"] == "structure" else None


class Route(NamedTuple):
    operation: OperationModel
    labels: dict[str, str]


class Wire:
    """The service model at work. `model`: its JSON text, if not the installed botocore's."""

    def __init__(self, model: bytes | None = None) -> None:
        loaded = service_model.load(model)
        shapes = Shapes(loaded["shapes"])
        checks = Checks(loaded["shapes"])
        self.operations: Mapping[str, OperationModel] = {
            name: OperationModel(name, definition, shapes, checks) for name, definition in loaded["operations"].items()
        }
        self._router = Router[OperationModel]()
        for operation in self.operations.values():
            self._router.add(operation.method, operation.uri, operation)

    def route(self, method: str, path: str, query: str) -> Route:
        """`path` and `query` raw. Raises AWS's refusal of what it cannot route."""
        return Route(*self._router.find(method, path, query))

    def parse(self, route: Route, query: str, headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
        """The operation's input in the model's member names; header names are lower-case.

        Raises SerializationException for what is not of its type, ValidationException for what breaks a constraint."""
        plan = route.operation.input_plan
        values = self._body_values(plan, body)
        for label, member, read in plan.labels:
            values[member] = read(route.labels[label])
        for header, member, read in plan.headers:
            if (text := headers.get(header)) is not None:
                values[member] = read(text)
        if query and plan.query:
            for name, texts in read_query(query).items():
                if (known := plan.query.get(name)) is not None:
                    member, read, listed = known
                    values[member] = [read(text) for text in texts] if listed else read(texts[0])
        if plan.check is not None:
            failures: list[str] = []
            plan.check(values, "", failures)
            if failures:
                raise refuse(failures)
        return values

    def _body_values(self, plan: InputPlan, body: bytes) -> dict[str, Any]:
        if plan.body is None:
            return {} if plan.payload is None else {plan.payload: body}
        if not body:
            return {}
        try:
            document = orjson.loads(body)
        except orjson.JSONDecodeError:
            raise SerializationException("Could not parse request body into json.") from None
        if document is None:
            return {}
        read = plan.body(document)
        return read if plan.payload is None else {plan.payload: read}

    def serialise(self, operation: OperationModel, output: Mapping[str, Any]) -> Response:
        """Members that are None, or that the model does not know, do not travel."""
        plan = operation.output_plan
        status = operation.status if plan.status is None else output.get(plan.status) or operation.status
        headers = tuple((name, str(output[member])) for member, name in plan.headers if output.get(member) is not None)
        if status == 204:
            return Response(status, headers)
        if plan.payload is not None and plan.body is None:
            content = bytes(output.get(plan.payload) or b"")
        elif plan.body is not None:
            document: Mapping[str, Any] = output if plan.payload is None else output.get(plan.payload) or {}
            content = orjson.dumps(plan.body(document))
        else:
            return Response(status, headers)
        if not any(name.lower() == "content-type" for name, _ in headers):
            headers = (JSON, *headers)
        return Response(status, headers, content)
