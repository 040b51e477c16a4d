"""What a memory size buys (AWS: spec 3.1): one figure sold, everything else follows from it."""

from dataclasses import dataclass

MB_PER_CPU = 1769
PROCESSES = 1024  # processes and threads
DESCRIPTORS = 1024
INIT_PROCESSES = 1  # the sandbox's own pid 1, which the function doesn't pay for


@dataclass(frozen=True, slots=True)
class Limits:
    """memory in MB, cpu in cores, processes counts threads too."""

    memory: int
    cpu: float
    processes: int = PROCESSES + INIT_PROCESSES


def limits(memory_size: int) -> Limits:
    return Limits(memory_size, memory_size / MB_PER_CPU)
