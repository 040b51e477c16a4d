"""Where AWS's validation texts differ from what the service model says: recorded from AWS, keyed by shape.

These change what is printed. What is accepted stays the service model's to say, so that a new release of it adds values
and members with no work here.
"""

from lamplighter.model import runtime_names

# Enums whose values AWS prints in another order than the model's. Recorded: url config, recursion config, event source
# mapping, layers (ListLayers, where AWS prints names that no documentation knows).
ENUMS: dict[str, str] = {
    "InvokeMode": "RESPONSE_STREAM, BUFFERED",
    "RecursiveLoop": "Terminate, Allow",
    "EventSourcePosition": "LATEST, AT_TIMESTAMP, TRIM_HORIZON",
    "Runtime": (
        "ruby3.5, ruby2.6, dotnetcore1.0, python3.7, nodejs8.10, nasa, ruby2.7, python2.7-greengrass, dotnetcore2.0, "
        "python3.8, java21, dotnet6, dotnetcore2.1, python3.9, java11, nodejs6.10, provided, dotnetcore3.1, dotnet8, "
        "java25, java17, nodejs, nodejs4.3, java8.al2, go1.x, dotnet10, nodejs20.x, go1.9, byol, nodejs10.x, "
        "provided.al2023, nodejs22.x, python3.10, java8, nodejs12.x, python3.11, nodejs24.x, nodejs8.x, python3.12, "
        "nodejs14.x, nodejs8.9, nodejs26.x, python3.13, python3.14, nodejs16.x, python3.15, provided.al2, "
        "nodejs4.3-edge, nodejs18.x, ruby3.2, python3.4, ruby3.3, ruby3.4, ruby2.5, python3.6, python2.7"
    ),
}

# Lists that AWS refuses with the constraint of their elements alone, without saying that it is about elements
# (PublishLayerVersion).
FLAT_LISTS: dict[str, tuple[str, ...]] = {"CompatibleRuntimes": runtime_names.CREATABLE}

# Lists whose refusal does not say that elements must not be null (VPC config).
NULL_UNSAID = frozenset({"SubnetIds", "SecurityGroupIds"})

# Patterns that AWS prints otherwise (layers, tags). A value that matches either is accepted.
PATTERNS: dict[str, str] = {
    "LayerVersionArn": (
        r"(arn:(aws[a-zA-Z-]*)?:lambda:(eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:\d{12}:"
        r"layer:[a-zA-Z0-9-_]+:[0-9]+)|(arn:[a-zA-Z0-9-]+:lambda:::awslayer:[a-zA-Z0-9-_]+)"
    ),
    "TaggableResource": (
        r"arn:(aws[a-zA-Z-]*):lambda:(eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:\d{12}:"
        r"(function:[a-zA-Z0-9-_]+(:(\$LATEST|[a-zA-Z0-9-_]+))?|layer:([a-zA-Z0-9-_]+)|"
        r"code-signing-config:csc-[a-z0-9]{17}|event-source-mapping:[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-"
        r"[0-9a-fA-F]{4}-[0-9a-fA-F]{12}|capacity-provider:[a-zA-Z0-9-_]+)"
    ),
}

# Members that AWS checks in its second layer, with texts of their own (spec 1.2): control/ does.
SECOND_LAYER = frozenset({("CreateFunctionRequest", "Runtime"), ("UpdateFunctionConfigurationRequest", "Runtime")})
