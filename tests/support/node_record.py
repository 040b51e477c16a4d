"""Writes down what AWS's own Node.js runtime clients do with the corpus, for ours to be compared with.

    python -m support.node_record classic NODE DIRECTORY     (aws-lambda-ric 3, Node.js 20)
    python -m support.node_record nodejs22.x NODE DIRECTORY  (the same with Node.js 22: where it answers otherwise)
    python -m support.node_record modern NODE DIRECTORY      (aws-lambda-ric 4, Node.js 24)

DIRECTORY: where the client's index.mjs is, with its built rapid-client.node beside it. The answers are kept in
`node_answers/` and belong to the project; the client itself is not needed to run the tests.
"""

import json
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from support.node_clients import Transcript, generation, transcript
from support.node_corpus import SESSIONS, name_of
from support.python_corpus import Session

ANSWERS = Path(__file__).parent / "node_answers"
TRIES = 20
CLASSIC = "import {{ run }} from {}; await run(process.env.LAMBDA_TASK_ROOT, process.env._HANDLER);"


def answers(release: str) -> dict[str, Any]:
    """By session: those of this runtime's generation, but where a Node.js of its release made it answer otherwise."""
    return {**_kept(generation(release)), **_kept(release)}


def _kept(name: str) -> dict[str, Any]:
    file = ANSWERS / f"{name}.json"
    return json.loads(file.read_text()) if file.exists() else {}


def recorded(generation: str, node: str, directory: Path, session: Session, parent: Path) -> object:
    """AWS's later client asks for the next event while it is still ending a stream that failed: so the test's server
    may be through before it has all; then once more."""
    found = aws_client(generation, node, directory, session, parent)
    for _ in range(TRIES if session.name.startswith("stream: ") else 0):
        if len(found.requests) == len(session.invocations):
            break
        found = aws_client(generation, node, directory, session, parent)
    return found.plain()


def aws_client(generation: str, node: str, directory: Path, session: Session, parent: Path) -> Transcript:
    start = directory / "index.mjs"
    flags = ["--no-experimental-require-module", "--no-experimental-detect-module"]
    if generation == "modern":
        return transcript(session, parent, [node, *flags, str(start)], directory)
    runner = Path(tempfile.mkdtemp(dir=parent)) / "runner.mjs"
    runner.write_text(CLASSIC.format(json.dumps(str(start))))
    return transcript(session, parent, [node, *flags, str(runner)], directory)


def main() -> None:
    name, node, directory = sys.argv[1], sys.argv[2], Path(sys.argv[3]).resolve()
    whole = name in ("classic", "modern")
    client = name if whole else generation(name)
    with tempfile.TemporaryDirectory() as parent, ThreadPoolExecutor(2) as pool:
        record = partial(recorded, client, node, directory, parent=Path(parent))
        found = dict(zip(map(name_of, SESSIONS), pool.map(record, SESSIONS), strict=True))
    if not whole:
        usual = _kept(client)
        found = {session: answer for session, answer in found.items() if answer != usual[session]}
    ANSWERS.mkdir(exist_ok=True)
    (ANSWERS / f"{name}.json").write_text(json.dumps(found, indent=1, ensure_ascii=True, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
