"""SigV4 as a client: the headers that make a request ours (AWS: spec 9).

botocore can do this too, but importing its half that can costs more than the whole start of the service.
"""

import hashlib
import hmac
import time
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

ALGORITHM = "AWS4-HMAC-SHA256"


@dataclass(frozen=True, slots=True)
class Keys:
    access_key: str
    secret_key: str
    token: str | None = None


def sign(
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes,
    keys: Keys,
    service: str,
    region: str,
    now: float,
) -> dict[str, str]:
    """The headers to send: those given, Host and what SigV4 adds. All are signed.

    `url`: its path and query are encoded as AWS encodes them; `now`: seconds since the epoch."""
    parts = urlsplit(url)
    instant = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
    digest = hashlib.sha256(body).hexdigest()
    sent = {**headers, "Host": parts.netloc, "X-Amz-Date": instant}
    if service == "s3":
        sent["X-Amz-Content-SHA256"] = digest
    if keys.token is not None:
        sent["X-Amz-Security-Token"] = keys.token
    signed = sorted((name.lower(), " ".join(value.split())) for name, value in sent.items())
    names = ";".join(name for name, _ in signed)
    path = parts.path or "/"
    request = "\n".join(
        [
            method,
            path if service == "s3" else quote(path, safe="/~"),
            "&".join(
                "=".join(pair) for pair in sorted(item.partition("=")[::2] for item in parts.query.split("&") if item)
            ),
            *(f"{name}:{value}" for name, value in signed),
            "",
            names,
            digest,
        ]
    )
    scope = f"{instant[:8]}/{region}/{service}/aws4_request"
    text = "\n".join([ALGORITHM, instant, scope, hashlib.sha256(request.encode()).hexdigest()])
    key = f"AWS4{keys.secret_key}".encode()
    for step in (*scope.split("/"), text):
        key = hmac.new(key, step.encode(), hashlib.sha256).digest()
    sent["Authorization"] = (
        f"{ALGORITHM} Credential={keys.access_key}/{scope}, SignedHeaders={names}, Signature={key.hex()}"
    )
    return sent
