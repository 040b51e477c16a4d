"""Runs a session of the corpus with a Python runtime client, ours or AWS's, and makes the transcripts comparable."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import lamplighter.runtimes
from support.callers import until
from support.python_corpus import Session
from support.runtime_api import Request, RuntimeApi

CLIENT = Path(lamplighter.runtimes.__file__).parent / "python"
HANDLERS = Path(__file__).parent / "python_handlers"
OURS = f"import sys; sys.path.insert(0, {str(CLIENT)!r}); import bootstrap; bootstrap.main()"
FORKED = f"""
import os, signal, sys
sys.path[0] = {str(CLIENT)!r}
import bootstrap
pid = os.fork()
if pid == 0:
    try:
        bootstrap.main()
    finally:
        os.write(1, b"main has returned")
_, status = os.waitpid(pid, 0)
if os.WIFSIGNALED(status):
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.kill(os.getpid(), os.WTERMSIG(status))
os._exit(os.WEXITSTATUS(status))
"""
DEADLINE = 30  # seconds for a session


@dataclass(frozen=True)
class Transcript:
    """What a runtime did: how it ended, what it posted, what it logged."""

    exit_code: int
    requests: tuple[tuple[str, str, tuple[tuple[str, str], ...], bytes], ...]
    log: str


def ours(session: Session, root: Path, interpreter: str = sys.executable, manner: str = "") -> Transcript:
    return _serve(session, root, [interpreter, "-c", OURS], manner)


def forked(session: Session, root: Path, interpreter: str = sys.executable) -> Transcript:
    return _serve(session, root, [interpreter, "-c", FORKED])


def awslambdaric(session: Session, root: Path) -> Transcript:
    return _serve(session, root, [sys.executable, "-m", "awslambdaric", session.handler])


def task_root(session: Session, parent: Path) -> Path:
    root = parent / re.sub(r"\W+", "-", session.name)
    shutil.copytree(HANDLERS, root, ignore=shutil.ignore_patterns("__pycache__"))
    for name, source in session.files.items():
        (root / name).write_text(source)
    if "import broken" in session.files.get("outer.py", ""):
        (root / "broken.py").write_text("x = (\n")
    return root


def _serve(session: Session, root: Path, command: list[str], manner: str = "") -> Transcript:
    with RuntimeApi(session.invocations, refuse=session.refuse, manner=manner) as api:
        code, log = run(session, root, command, api)
    return Transcript(code, tuple(map(_comparable, api.requests)), comparable_log(log))


def run(session: Session, root: Path, command: list[str], api: RuntimeApi) -> tuple[int, bytes]:
    """Exit code (0 where the session does not end of its own accord) and output of one process."""
    variables = _variables(session, root, api.address)
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            command, cwd=root, env=variables, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            if not session.ends:
                assert api.idle.wait(DEADLINE), "the runtime did not answer all invocations"
                if session.terminate:
                    until(lambda: _waits(process.pid), "the runtime waits for the next invocation")
                    process.send_signal(signal.SIGTERM)
            if session.ends or session.terminate:
                process.wait(DEADLINE)
        finally:
            process.kill()
            process.wait(DEADLINE)
        output.seek(0)
        return (process.returncode if session.ends or session.terminate else 0), output.read()


def _waits(pid: int) -> bool:
    """awslambdaric asks for the next invocation in a thread: a signal that comes before the main thread waits for that
    thread makes it wait for ever."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "S"


def _variables(session: Session, root: Path, address: str) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "LANG": "en_US.UTF-8",
        "LC_CTYPE": "C.UTF-8",
        "TZ": ":UTC",
        "PYTHONDONTWRITEBYTECODE": "1",
        "AWS_EXECUTION_ENV": "AWS_Lambda_python3.11",
        "AWS_LAMBDA_FUNCTION_NAME": "corpus",
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
        "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/corpus",
        "AWS_LAMBDA_LOG_STREAM_NAME": "2026/01/02/[$LATEST]0123456789abcdef0123456789abcdef",
        "AWS_LAMBDA_RUNTIME_API": address,
        "LAMBDA_TASK_ROOT": str(root),
        "_HANDLER": session.handler,
        **session.variables,
    }


def _comparable(request: Request) -> tuple[str, str, tuple[tuple[str, str], ...], bytes]:
    """Without what belongs to the HTTP library, and without the frames of either client."""
    headers = dict(request.headers)
    cause = headers.get("lambda-runtime-function-xray-error-cause")
    if cause:
        headers["lambda-runtime-function-xray-error-cause"] = _comparable_cause(cause)
    kept = sorted(item for item in headers.items() if item[0] == "content-type" or item[0].startswith("lambda-"))
    body = _without_own_frames(request.body.decode("latin-1"))
    return request.method, request.path, tuple(kept), body.encode("latin-1")


def _comparable_cause(cause: str) -> str:
    """Its list of paths has no order."""
    parsed = json.loads(cause)
    escaped = cause == json.dumps(parsed)
    assert escaped or cause == json.dumps(parsed, ensure_ascii=False), "unusual JSON text in the cause"
    for exception in parsed["exceptions"]:
        exception["stack"] = [frame for frame in exception["stack"] if not re.search(_OWN, frame["path"])]
        recursive = [frame for frame in exception["stack"] if frame["label"] == "recursion"]
        if len(recursive) > 100:
            exception["stack"] = recursive[:1]  # how deep it gets depends on the frames below the handler
    parsed["paths"] = sorted(path for path in parsed["paths"] if not re.search(_OWN, path))
    return json.dumps([escaped, parsed])


_OWN = "/awslambdaric/|/_lamplighter/|<frozen runpy>|^<string>$"
_FILE = r'(?:[^"\\\n]*/(?:awslambdaric|_lamplighter)/[^"\\\n]*|<frozen runpy>|<string>)'
_OWN_FRAMES = [
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (rf'  File "{_FILE}", line .*\n(?:    .*\n)*', ""),  # written by the interpreter
        (rf'[\r\n]\xa0\xa0File "{_FILE}", line [^\r\n]*(?:[\r\n]\xa0{{4}}[^\r\n<]*)?', ""),  # in an error line
        (rf'"  File \\"{_FILE}\\", line \d+, in (?:[^"\\]|\\.)*"(?:, )?', ""),  # in JSON
        (r", \]", "]"),
        (rf"(?m)^{_FILE}:\d+: RuntimeWarning: (.*)\n  .*\n", r"\1\n"),
        (r"awslambdaric\.[\w.]+Error:", "RuntimeError:"),
        (r"Traceback \(most recent call last\):\n(?!  )", ""),  # nothing is left of it
        (r"Previous line repeated \d+ more", "Previous line repeated N more"),
    )
]


def _without_own_frames(text: str) -> str:
    for pattern, replacement in _OWN_FRAMES:
        text = pattern.sub(replacement, text)
    return text


def comparable_log(log: bytes) -> str:
    """Without times and addresses, and without the frames of either client in tracebacks."""
    text = framed_as_text(log).decode("utf-8", "surrogateescape")
    text = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?Z", "TIME", text)
    text = re.sub(r"\[\d{13}\] LAMBDA_RUNTIME", "[TIME] LAMBDA_RUNTIME", text)
    text = re.sub(r"0x[0-9a-f]{6,}", "0xADDRESS", text)
    return _without_own_frames(text)


def framed_as_text(log: bytes) -> bytes:
    """Frames become <TYPE>text</>, so their lengths are checked by where the end mark is."""
    done, position = b"", 0
    while head := re.compile(rb"\xa5\x5a\x00(.)(....)(.{8})", re.DOTALL).search(log, position):
        end = head.end() + int.from_bytes(head[2], "big")
        assert 0 <= time.time() - int.from_bytes(head[3], "big") / 1e6 < 300  # noqa: TID251
        done += log[position : head.start()] + b"<%s>" % head[1].hex().encode() + log[head.end() : end] + b"</>"
        position = end
    return done + log[position:]
