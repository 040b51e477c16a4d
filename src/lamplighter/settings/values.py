"""How the value of an option is read: from the text of a flag or variable, or from any value of a TOML file.

Each reader raises ValueError with what the value should have been, to stand behind the value in a sentence.
"""

import ipaddress
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

_ENDPOINT = re.compile(r"https?://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?(/[A-Za-z0-9._~/%-]*)?")
_HOST_NAME = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9-]{1,63}(?<!-))*\.?")


def text(value: object) -> str:
    if not isinstance(value, str) or not value or not value.isprintable():
        raise ValueError("must be a text that is not empty")
    return value


def host(value: object) -> str:
    name = text(value).removeprefix("[").removesuffix("]")
    if not is_address(name) and (not _HOST_NAME.fullmatch(name) or re.fullmatch(r"[\d.]+", name)):
        raise ValueError("must be an IP address or a host name")
    return name


def is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def port(value: object) -> int:
    number = int(value) if isinstance(value, str) and re.fullmatch(r"[0-9]{1,5}", value) else value
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number <= 65535:
        hint = "; Kubernetes sets this variable: see enableServiceLinks" if str(value).startswith("tcp://") else ""
        raise ValueError("must be a number from 0 (any free port) to 65535" + hint)
    return number


def listener(value: object) -> tuple[str, int] | None:
    """[ADDRESS:]PORT, on loopback unless it says otherwise; None: there is none."""
    if value in ("off", False):
        return None
    address, _, number = str(value).rpartition(":") if isinstance(value, str) else ("", "", value)
    try:
        return host(address or "127.0.0.1"), port(number)
    except ValueError:
        raise ValueError("must be off, a port, or an address and a port such as 127.0.0.1:9464") from None


def whole(least: int, most: int, unit: str = "") -> Callable[[object], int]:
    """Reads a number from `least` to `most`, of `unit` (in the plural, for the sentence)."""

    def read(value: object) -> int:
        number = int(value) if isinstance(value, str) and re.fullmatch(r"[0-9]{1,8}", value) else value
        if isinstance(number, bool) or not isinstance(number, int) or not least <= number <= most:
            raise ValueError(f"must be a number{unit and ' of ' + unit} from {least} to {most}")
        return number

    return read


def switch(value: object) -> bool:
    known = {"on": True, "true": True, "1": True, "off": False, "false": False, "0": False}
    answer = value if isinstance(value, bool) else known.get(value.lower()) if isinstance(value, str) else None
    if answer is None:
        raise ValueError("must be on or off")
    return answer


def path(value: object) -> Path:
    path = Path(text(value))
    try:
        return path.expanduser().absolute()
    except RuntimeError:
        raise ValueError("names a home directory that does not exist") from None


def endpoint(value: object) -> str:
    url = text(value)
    if not _ENDPOINT.fullmatch(url) or not url.isascii():
        raise ValueError("must be a URL such as http://127.0.0.1:9000")
    return url


def function_endpoint(value: object) -> str:
    if value in ("service", "none"):
        return str(value)
    try:
        return endpoint(value)
    except ValueError:
        raise ValueError("must be service, none or a URL such as http://10.0.0.1:4566") from None


def networks(value: object) -> tuple[str, ...]:
    names = cast(list[object], value) if isinstance(value, list) else text(value).split(",")
    try:
        return tuple(str(ipaddress.ip_network(text(name).strip())) for name in names)
    except ValueError:
        raise ValueError("must be networks such as 10.1.0.0/16,192.168.7.0/24,fd12:3456::/32") from None


def matching(pattern: str | re.Pattern[str], wanted: str) -> Callable[[object], str]:
    def read(value: object) -> str:
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            raise ValueError(f"must be {wanted}")
        return value

    return read


def choice(of: Sequence[str]) -> Callable[[object], str]:
    return matching("|".join(of), f"one of {', '.join(of)}")
