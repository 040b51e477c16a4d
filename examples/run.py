"""`make run`: starts the service, tries the function in examples/hello in it, says how to go on, serves until Ctrl-C.

What it does to the service, it does with boto3 and nothing else, so it is an example too. The data is kept in
.lamplighter beside this checkout. Options are those of `lamplighter serve`.
"""

import io
import os
import shlex
import signal
import statistics
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import boto3
from botocore.config import Config

CHECKOUT = Path(__file__).resolve().parents[1]
HELLO = Path(__file__).parent / "hello"
LAMPLIGHTER = Path(sys.executable).with_name("lamplighter")
DATA_DIR = CHECKOUT / ".lamplighter"
WARM_CALLS = 20
READY = "Lamplighter is ready at "


def main() -> int:
    command = [str(LAMPLIGHTER), "serve", "--data-dir", str(DATA_DIR), *sys.argv[1:]]
    # A group of its own: the terminal's Ctrl-C comes to us, and we pass it on once, as we do SIGTERM.
    service = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, process_group=0)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda received, _: service.send_signal(received))
    assert service.stdout
    try:
        for line in service.stdout:
            print(line, end="", flush=True)
            if line.startswith(READY):
                url = line.removeprefix(READY).split()[0]
                data_dir = line.rpartition(", data ")[2].rstrip().removesuffix(")")
                try_out(url, data_dir)
        return service.wait()
    finally:
        if service.poll() is None:  # our own failure is no reason to leave it behind
            service.terminate()
            service.wait()


def try_out(url: str, data_dir: str) -> None:
    variables = subprocess.run(
        [str(LAMPLIGHTER), "env", "--data-dir", data_dir, "--port", url.rpartition(":")[2]],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    os.environ.update(word.split("=", 1) for line in variables.splitlines() for word in shlex.split(line)[1:])
    client = boto3.client("lambda", config=Config(retries={"total_max_attempts": 1}))
    names = [function["FunctionName"] for function in client.list_functions()["Functions"]]
    if not names:
        deploy(client)
        names = ["hello"]
        print("\nDeployed examples/hello as the function hello.")
    if "hello" in names:
        call(client)
    else:
        print(f"\nDeployed: {', '.join(names)}")
    say_how_to_go_on(data_dir, url)


def deploy(client) -> None:
    runtimes = subprocess.run([str(LAMPLIGHTER), "runtimes", "--names"], check=True, capture_output=True, text=True)
    client.create_function(
        FunctionName="hello",
        Runtime=runtimes.stdout.split()[-1],
        Role="arn:aws:iam::000000000000:role/hello",
        Handler="lambda_function.lambda_handler",
        Code={"ZipFile": packed(HELLO)},
    )
    client.get_waiter("function_active_v2").wait(FunctionName="hello", WaiterConfig={"Delay": 1})


def packed(directory: Path) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(directory.glob("*.py")):
            archive.write(path, path.name)
    return buffer.getvalue()


def call(client) -> None:
    times = []
    answer = b""
    for _ in range(1 + WARM_CALLS):
        begun = time.perf_counter()
        answer = client.invoke(FunctionName="hello", Payload=b'{"name": "Lamplighter"}')["Payload"].read()
        times.append((time.perf_counter() - begun) * 1000)
    print(f"It answers      {answer.decode()}")
    print(f"First call      {times[0]:.1f} ms, with a new environment")
    print(f"Warm calls      {statistics.median(times[1:]):.1f} ms (median of {WARM_CALLS}; boto3's own time included)")


def say_how_to_go_on(data_dir: str, url: str) -> None:
    where = f"--data-dir {shlex.quote(data_dir)} --port {url.rpartition(':')[2]}"
    print(
        f"""
In another terminal:
  eval "$({shlex.quote(str(LAMPLIGHTER))} env {where})"

  {shlex.quote(str(LAMPLIGHTER.with_name("aws")))} lambda list-functions
  {shlex.quote(str(LAMPLIGHTER.with_name("aws")))} lambda invoke --function-name hello /dev/stdout

  {shlex.quote(sys.executable)} -c 'import boto3
print(boto3.client("lambda").invoke(FunctionName="hello", Payload=b"{{}}")["Payload"].read())'

Ctrl-C ends it.
""",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
