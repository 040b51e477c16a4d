"""What an operator can choose, as the service knows it once it has started."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

IsolationChoice = Literal["auto", "full", "user", "none"]
MissingRuntimes = Literal["refuse", "accept"]
Network = Literal["none", "internet"]
Tmp = Literal["auto", "disk", "memory"]
FunctionApi = Literal["invoke", "all", "off"]
LogFormat = Literal["console", "json"]
LogLevel = Literal["debug", "info", "warning", "error"]


@dataclass(frozen=True, slots=True)
class Settings:
    """The choices. `port` 0: any free one; the ready line says which. `data_dir` is absolute."""

    data_dir: Path
    host: str = "127.0.0.1"
    port: int = 4566
    auth: bool = True
    account_id: str = "000000000000"
    region: str = "us-east-1"
    isolation: IsolationChoice = "auto"
    missing_runtimes: MissingRuntimes = "refuse"
    s3_endpoint: str | None = None
    sqs_endpoint: str | None = None
    sns_endpoint: str | None = None
    events_endpoint: str | None = None
    traces_endpoint: str | None = None
    function_api: FunctionApi = "invoke"
    function_endpoint: str = "service"
    role_policies: Path | None = None
    network: Network = "internet"
    reachable_networks: tuple[str, ...] = ()
    unreachable_networks: tuple[str, ...] = ()
    tmp: Tmp = "auto"
    account_concurrency: int = 1000
    idle_timeout: int = 600
    max_environment_age: int = 7200
    memory_reserve: int = 256
    freeze: bool = True
    logs: bool = True
    metering: bool = True
    metrics: bool = True
    prometheus: tuple[str, int] | None = None
    log_format: LogFormat = "console"
    log_level: LogLevel = "info"

    @property
    def url(self) -> str:
        """How this machine reaches the service (of a wildcard address: by loopback)."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"
