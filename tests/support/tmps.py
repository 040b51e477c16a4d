"""Where /tmp of functions is, as a running service tells."""

import re
import urllib.request

from support.exposition import read
from support.service import Service


def started(service: Service) -> tuple[float, float]:
    """How many sandboxes have their /tmp on the disk, and how many in memory; of one run with `--prometheus 0`."""
    found = re.search(r"Prometheus finds metrics at (\S+)", service.log.read_text())
    assert found
    with urllib.request.urlopen(found[1], timeout=30) as answer:
        samples = read(answer.read().decode())["lamplighter_sandboxes_started_total"].samples
    return samples["", (("tmp", "disk"),)], samples["", (("tmp", "memory"),)]
