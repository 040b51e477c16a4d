"""AWS's own refusals of the first validation layer, as recorded from it, for the same inputs."""

import json
from typing import Any
from urllib.parse import quote

import pytest

from lamplighter.api.protocol import Wire
from lamplighter.model import runtime_names
from lamplighter.model.errors import ValidationException

WIRE = Wire()

PREFIX = (
    r"(arn:(aws[a-zA-Z-]*)?:lambda:)?((eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:)?(\d{12}:)?(function:)?"
)
NAME = PREFIX + r"([a-zA-Z0-9-_]+)(:(\$LATEST|[a-zA-Z0-9-_]+))?"
NAMESPACED_NAME = PREFIX + r"([a-zA-Z0-9-_\.]+)(:(\$LATEST(\.PUBLISHED)?|[a-zA-Z0-9-_]+))?"
LAYER_VERSION = (
    r"(arn:(aws[a-zA-Z-]*)?:lambda:(eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:\d{12}:layer:[a-zA-Z0-9-_]+:[0-9]+)"
    r"|(arn:[a-zA-Z0-9-]+:lambda:::awslayer:[a-zA-Z0-9-_]+)"
)
RESOURCE = (
    r"arn:(aws[a-zA-Z-]*):lambda:(eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:\d{12}:"
    r"(function:[a-zA-Z0-9-_]+(:(\$LATEST|[a-zA-Z0-9-_]+))?|layer:([a-zA-Z0-9-_]+)|code-signing-config:csc-[a-z0-9]{17}"
    r"|event-source-mapping:[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"
    r"|capacity-provider:[a-zA-Z0-9-_]+)"
)
URL_QUALIFIER = r"((?!^\d+$)^[0-9a-zA-Z-_]+$)"
LISTED_RUNTIMES = (
    "ruby3.5, ruby2.6, dotnetcore1.0, python3.7, nodejs8.10, nasa, ruby2.7, python2.7-greengrass, "
    "dotnetcore2.0, python3.8, java21, dotnet6, dotnetcore2.1, python3.9, java11, nodejs6.10, provided, "
    "dotnetcore3.1, dotnet8, java25, java17, nodejs, nodejs4.3, java8.al2, go1.x, dotnet10, nodejs20.x, go1.9,"
    " byol, nodejs10.x, provided.al2023, nodejs22.x, python3.10, java8, nodejs12.x, python3.11, nodejs24.x, "
    "nodejs8.x, python3.12, nodejs14.x, nodejs8.9, nodejs26.x, python3.13, python3.14, nodejs16.x, python3.15,"
    " provided.al2, nodejs4.3-edge, nodejs18.x, ruby3.2, python3.4, ruby3.3, ruby3.4, ruby2.5, python3.6, "
    "python2.7"
)
RUNTIMES = ", ".join(runtime_names.CREATABLE)
ARCHITECTURES = (
    "Member must satisfy constraint: [Member must satisfy enum value set: [x86_64, arm64], Member must not be null]"
)
ROLE = "arn:aws:iam::111111111111:role/r"
LAMBDA = "arn:aws:lambda:us-east-1:111111111111"
FUNCTION = f"{LAMBDA}:function:my-function"


def failed(value: str, field: str, constraint: str) -> str:
    return f"Value '{value}' at '{field}' failed to satisfy constraint: {constraint}"


def pattern(value: str, field: str, text: str) -> str:
    return failed(value, field, f"Member must satisfy regular expression pattern: {text}")


def at_most(value: str, field: str, length: int) -> str:
    return failed(value, field, f"Member must have length less than or equal to {length}")


def refused(method: str, path: str, query: str = "", body: Any = None, headers: dict[str, str] | None = None) -> str:
    route = WIRE.route(method, path, query)
    with pytest.raises(ValidationException) as error:
        WIRE.parse(route, query, headers or {}, b"" if body is None else json.dumps(body).encode())
    assert error.value.message is not None
    return error.value.message


def create(**members: Any) -> str:
    return refused("POST", "/2015-03-31/functions", body={"FunctionName": "f", "Role": ROLE, "Code": {}} | members)


def get(name: str, qualifier: str | None = None) -> str:
    query = "" if qualifier is None else f"Qualifier={quote(qualifier, safe='')}"
    return refused("GET", f"/2015-03-31/functions/{quote(name, safe='')}", query)


def delete(name: str) -> str:
    return refused("DELETE", f"/2015-03-31/functions/{quote(name, safe='')}")


def invoke(name: str, qualifier: str | None = None) -> str:
    query = "" if qualifier is None else f"Qualifier={quote(qualifier, safe='')}"
    return refused("POST", f"/2015-03-31/functions/{quote(name, safe='')}/invocations", query)


LONG_ARN = f"arn:aws:lambda:invalid-region:111111111111:function:my-function{'a' * 170}"
SEVERAL_QUALIFIERS = [f"{FUNCTION}:1:2", "function:my-function:$LATEST:extra"]
NO_NAMES = [
    "*",
    "invalid:function:name",
    "invalid-account:function:my-function",
    "arn:aws:lambda:invalid-region:111111111111:function:my-function",
    "arn:aws:ec2:us-east-1:111111111111:instance:i-1234567890abcdef0",
    "arn:aws:lambda:us-east-1::function:my-function",
    "arn:aws:lambda::111111111111:function:my-function",
    f"{FUNCTION}:$LATES",
    *SEVERAL_QUALIFIERS,
]


@pytest.mark.parametrize("name", NO_NAMES)
def test_what_is_no_function_name(name: str) -> None:
    assert create(FunctionName=name) == f"1 validation error detected: {pattern(name, 'functionName', NAME)}"
    for operation in (get, delete, invoke):
        assert operation(name) == f"1 validation error detected: {pattern(name, 'functionName', NAMESPACED_NAME)}"


def test_names_that_are_too_long() -> None:
    arn = f"{FUNCTION}-{'a' * 140}"
    assert create(FunctionName=arn) == f"1 validation error detected: {at_most(arn, 'functionName', 140)}"
    assert create(FunctionName=LONG_ARN) == (
        f"2 validation errors detected: {at_most(LONG_ARN, 'functionName', 140)}; "
        f"{pattern(LONG_ARN, 'functionName', NAME)}"
    )
    for operation in (get, delete):  # up to 256 here
        expected = f"1 validation error detected: {pattern(LONG_ARN, 'functionName', NAMESPACED_NAME)}"
        assert operation(LONG_ARN) == expected


@pytest.mark.parametrize("operation", [get, invoke])
def test_qualifiers(operation: Any) -> None:
    long = "a" * 129
    assert operation("f", long) == f"1 validation error detected: {at_most(long, 'qualifier', 128)}"
    wrong = "invalid-qualifier-with-?-char"
    assert operation("f", wrong) == "1 validation error detected: " + pattern(
        wrong, "qualifier", r"\$(LATEST(\.PUBLISHED)?)|[a-zA-Z0-9-_$]+"
    )
    assert operation(LONG_ARN, long) == (
        f"2 validation errors detected: {at_most(long, 'qualifier', 128)}; "
        f"{pattern(LONG_ARN, 'functionName', NAMESPACED_NAME)}"
    )


@pytest.mark.parametrize(
    ("members", "text"),
    [
        ({"Role": "r1"}, pattern("r1", "role", r"arn:(aws[a-zA-Z-]*)?:iam::\d{12}:role/?[a-zA-Z_0-9+=,.@\-_/]+")),
        (
            {"Architectures": ["x86_64", "arm64"]},
            failed("[x86_64, arm64]", "architectures", "Member must have length less than or equal to 1"),
        ),
        ({"Architectures": ["X86_64"]}, failed("[X86_64]", "architectures", ARCHITECTURES)),
        (
            {"SnapStart": {"ApplyOn": "invalidOption"}},
            failed(
                "invalidOption", "snapStart.applyOn", "Member must satisfy enum value set: [PublishedVersions, None]"
            ),
        ),
        (
            {"Layers": [f"{LAMBDA}:layer:l"]},
            failed(
                f"[{LAMBDA}:layer:l]",
                "layers",
                "Member must satisfy constraint: [Member must have length less than or equal to 2048, "
                "Member must have length greater than or equal to 1, "
                f"Member must satisfy regular expression pattern: {LAYER_VERSION}, Member must not be null]",
            ),
        ),
        (
            {"VpcConfig": {"SubnetIds": ["bad_subnet"]}},
            failed(
                "[bad_subnet]",
                "vpcConfig.subnetIds",
                "Member must satisfy constraint: [Member must have length less than or equal to 1024, "
                "Member must have length greater than or equal to 0, "
                "Member must satisfy regular expression pattern: subnet-[0-9a-z]*]",
            ),
        ),
        (
            {"VpcConfig": {"SecurityGroupIds": ["bad_sg"]}},
            failed(
                "[bad_sg]",
                "vpcConfig.securityGroupIds",
                "Member must satisfy constraint: [Member must have length less than or equal to 1024, "
                "Member must have length greater than or equal to 0, "
                "Member must satisfy regular expression pattern: sg-[0-9a-zA-Z]*]",
            ),
        ),
    ],
)
def test_create_function(members: dict[str, Any], text: str) -> None:
    assert create(**members) == f"1 validation error detected: {text}"


def test_layers_report_runtimes_before_architectures_and_differently() -> None:
    body = {
        "Content": {},
        "CompatibleRuntimes": ["invalidruntime", "invalidruntime2", "nodejs20.x"],
        "CompatibleArchitectures": ["invalidarch", "x86_64"],
    }
    assert refused("POST", "/2018-10-31/layers/l/versions", body=body) == (
        "2 validation errors detected: Value '[invalidruntime, invalidruntime2, nodejs20.x]' at 'compatibleRuntimes' "
        f"failed to satisfy constraint: Member must satisfy enum value set: [{RUNTIMES}]; "
        f"Value '[invalidarch, x86_64]' at 'compatibleArchitectures' failed to satisfy constraint: {ARCHITECTURES}"
    )


WEIGHTS = "routingConfig.additionalVersionWeights"
OF_WEIGHTS = (
    "Map value must satisfy constraint: [Member must have value less than or equal to 1.0, "
    "Member must have value greater than or equal to 0.0, Member must not be null]"
)
OF_VERSIONS = (
    "Map keys must satisfy constraint: [Member must have length less than or equal to 1024, Member must have length "
    "greater than or equal to 1, Member must satisfy regular expression pattern: [0-9]+]"
)


@pytest.mark.parametrize(
    ("method", "path", "query", "body", "text"),
    [
        (
            "GET",
            "/2015-03-31/functions",
            "FunctionVersion=invalid",
            None,
            failed("invalid", "functionVersion", "Member must satisfy enum value set: [ALL]"),
        ),
        (
            "GET",
            "/2018-10-31/layers",
            "CompatibleRuntime=runtimedoesnotexist",
            None,
            failed(
                "runtimedoesnotexist",
                "compatibleRuntime",
                f"Member must satisfy enum value set: [{LISTED_RUNTIMES}]",
            ),
        ),
        (
            "GET",
            "/2018-10-31/layers",
            "CompatibleArchitecture=archdoesnotexist",
            None,
            failed("archdoesnotexist", "compatibleArchitecture", "Member must satisfy enum value set: [x86_64, arm64]"),
        ),
        (
            "GET",
            "/2018-10-31/layers",
            f"find=LayerVersion&Arn={quote(LAMBDA, safe='')}:layer:l",
            None,
            pattern(f"{LAMBDA}:layer:l", "arn", LAYER_VERSION),
        ),
        (
            "POST",
            "/2018-10-31/layers/l/versions/1/policy",
            "",
            {"Action": "*", "StatementId": "s", "Principal": "*"},
            pattern("*", "action", "lambda:GetLayerVersion"),
        ),
        (
            "POST",
            "/2015-03-31/functions/f/policy",
            "",
            {"Action": "lambda:InvokeFunction", "StatementId": "example.com", "Principal": "*"},
            pattern("example.com", "statementId", "([a-zA-Z0-9-_]+)"),
        ),
        (
            "PUT",
            "/2024-08-31/functions/f/recursion-config",
            "",
            {"RecursiveLoop": "InvalidValue"},
            failed("InvalidValue", "recursiveLoop", "Member must satisfy enum value set: [Terminate, Allow]"),
        ),
        (
            "POST",
            "/2021-10-31/functions/f/url",
            "",
            {"AuthType": "NONE", "InvokeMode": "UNKNOWN"},
            failed("UNKNOWN", "invokeMode", "Member must satisfy enum value set: [RESPONSE_STREAM, BUFFERED]"),
        ),
        ("GET", "/2021-10-31/functions/f/url", "Qualifier=1", None, pattern("1", "qualifier", URL_QUALIFIER)),
        (
            "DELETE",
            "/2021-10-31/functions/f/url",
            "Qualifier=%24LATEST",
            None,
            pattern("$LATEST", "qualifier", URL_QUALIFIER),
        ),
        (
            "POST",
            "/2015-03-31/functions/f/aliases",
            "",
            {"Name": "2024", "FunctionVersion": "1"},
            pattern("2024", "name", "(?!^[0-9]+$)([a-zA-Z0-9-_]+)"),
        ),
        (
            "POST",
            "/2015-03-31/functions/f/aliases",
            "",
            {"Name": "a", "FunctionVersion": "1", "RoutingConfig": {"AdditionalVersionWeights": {"2": 2}}},
            failed("{2=2.0}", WEIGHTS, OF_WEIGHTS),
        ),
        (
            "POST",
            "/2015-03-31/functions/f/aliases",
            "",
            {"Name": "a", "FunctionVersion": "1", "RoutingConfig": {"AdditionalVersionWeights": {"2": -1}}},
            failed("{2=-1.0}", WEIGHTS, OF_WEIGHTS),
        ),
        (
            "POST",
            "/2015-03-31/functions/f/aliases",
            "",
            {"Name": "a", "FunctionVersion": "1", "RoutingConfig": {"AdditionalVersionWeights": {"$LATEST": 0.5}}},
            failed("{$LATEST=0.5}", WEIGHTS, OF_VERSIONS),
        ),
        (
            "PUT",
            "/2019-09-30/functions/f/provisioned-concurrency",
            "Qualifier=1",
            {"ProvisionedConcurrentExecutions": 0},
            failed("0", "provisionedConcurrentExecutions", "Member must have value greater than or equal to 1"),
        ),
        (
            "POST",
            "/2015-03-31/event-source-mappings",
            "",
            {"FunctionName": "f", "StartingPosition": "invalid"},
            failed(
                "invalid",
                "startingPosition",
                "Member must satisfy enum value set: [LATEST, AT_TIMESTAMP, TRIM_HORIZON]",
            ),
        ),
        (
            "PUT",
            "/2019-09-25/functions/f/event-invoke-config",
            "",
            {
                "DestinationConfig": {
                    "OnFailure": {"Destination": "arn:aws:_-/!lambda:us-east-1:111111111111:function:f"}
                }
            },
            pattern(
                "arn:aws:_-/!lambda:us-east-1:111111111111:function:f",
                "destinationConfig.onFailure.destination",
                r"$|kafka://([^.]([a-zA-Z0-9\-_.]{0,248}))|arn:(aws[a-zA-Z0-9-]*):([a-zA-Z0-9\-])+:"
                r"((eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1})?:(\d{12})?:(.*)",
            ),
        ),
        (
            "DELETE",
            f"/2017-03-31/tags/{quote(FUNCTION, safe='')}",
            "",
            None,
            "Value null at 'tagKeys' failed to satisfy constraint: Member must not be null",
        ),
        *(
            ("GET", f"/2017-03-31/tags/{quote(arn, safe='')}", "", None, pattern(arn, "resource", RESOURCE))
            for arn in (
                "arn:aws:something",
                f"{LAMBDA}:foobar:x",
                f"{LAMBDA}:capacity-provider:x:alias",
                f"{LAMBDA}:event-source-mapping:01234567-0123-0123-0123-012345678901:alias",
            )
        ),
    ],
)
def test_other_operations(method: str, path: str, query: str, body: Any, text: str) -> None:
    assert refused(method, path, query, body) == f"1 validation error detected: {text}"


def test_an_unknown_runtime_is_refused_by_the_second_layer() -> None:
    error = runtime_names.unknown_runtime("PYTHON3.9")
    assert (error.code, error.status) == ("InvalidParameterValueException", 400)
    assert error.message == (
        f"Value PYTHON3.9 at 'runtime' failed to satisfy constraint: Member must satisfy enum value set: [{RUNTIMES}] "
        "or be a valid ARN"
    )
