"""The languages whose interpreters are looked for on the host: where they are, what each is asked, and what the runtime
is called that it gives. The order is that of lists for people, with the most used last, where one looks.
"""

import re
from dataclasses import dataclass
from pathlib import Path

# Where `lamplighter runtimes install` puts them: root's, and another user's own.
INSTALLED_BY_ROOT = "/opt/lamplighter/runtimes"
INSTALLED_BY_USERS = "~/.local/share/lamplighter/runtimes"
_INSTALLED = (f"{INSTALLED_BY_ROOT}/*/bin", f"{INSTALLED_BY_USERS}/*/bin")


@dataclass(frozen=True, slots=True)
class Language:
    """`files`: what an interpreter's file is called. `places`: directories beside those of the PATH; ~ and a leading
    $VARIABLE are resolved. `question`: arguments that make it print its version, its prefix and whether it is usable,
    on a line each. `release`: matches the beginning of a version we serve, which `runtime` makes the runtime's name of.
    """

    name: str
    files: re.Pattern[str]
    places: tuple[str, ...]
    question: tuple[str, ...]
    release: re.Pattern[str]
    runtime: str


# Free-threaded and debug builds have another ABI than the packages that people deploy. The imports are what our client
# and the fork server can't do without; distributions ship interpreters that lack some of them.
_ASK_PYTHON = """
import sys
try:
    import ctypes, json, logging, select, socket, zlib
    whole = sys.implementation.name == "cpython" and not sys.abiflags
except ImportError:
    whole = False
print("\\n".join([".".join(map(str, sys.version_info[:3])), sys.base_prefix, str(whole)]))
"""
_ASK_NODE = """
const path = require("path");
const whole = process.release.name === "node" && /^[0-9.]+$/.test(process.versions.node);
const prefix = path.dirname(path.dirname(process.execPath));
console.log([process.versions.node, prefix, whole ? "True" : "False"].join("\\n"));
"""
# A Ruby knows where its library is by a path that was built into it: in a sandbox, that is there for /usr alone.
_ASK_RUBY = """
begin
  require "json"
  require "rbconfig"
  whole = RUBY_ENGINE == "ruby" && RUBY_PATCHLEVEL >= 0 && RbConfig::CONFIG["prefix"] == "/usr"
rescue LoadError
  whole = false
end
puts RUBY_VERSION, RbConfig::CONFIG["prefix"], whole ? "True" : "False"
"""

PYTHON = Language(
    "python",
    re.compile(r"python3\.(9|1[0-5])"),
    (
        "/usr/local/bin",
        "/usr/bin",
        "~/.pyenv/versions/*/bin",
        "$PYENV_ROOT/versions/*/bin",
        "~/.local/share/uv/python/*/bin",
        "/opt/python*/bin",
    ),
    ("-I", "-S", "-B", "-c", _ASK_PYTHON),
    re.compile(r"3\.(9|1[0-5])(?=\.)"),
    "python{}",
)
NODEJS = Language(
    "nodejs",
    re.compile("node(js)?"),
    (
        "/usr/local/bin",
        "/usr/bin",
        "~/.nvm/versions/node/*/bin",
        "$NVM_DIR/versions/node/*/bin",
        "/opt/node*/bin",
        *_INSTALLED,
    ),
    ("-e", _ASK_NODE),
    re.compile(r"(20|22|24|26)(?=\.)"),
    "nodejs{}.x",
)
RUBY = Language(
    "ruby",
    re.compile(r"ruby([34]\.\d)?"),
    ("/usr/bin",),
    ("--disable=gems", "-e", _ASK_RUBY),
    re.compile(r"(3\.[2-4]|4\.0)(?=\.)"),
    "ruby{}",
)
# The one of our own programs that is asked for an answer: a class takes a tenth of the time of a source file.
JAVA_CLIENT = Path(__file__).parent / "java" / "runtime.jar"
JAVA = Language(
    "java",
    re.compile("java"),
    (
        "/usr/bin",
        "/usr/lib/jvm/*/bin",
        "~/.sdkman/candidates/java/*/bin",
        "$JAVA_HOME/bin",
        "/opt/java*/bin",
        "/opt/jdk*/bin",
    ),
    ("-Xshare:auto", "-XX:TieredStopAtLevel=1", "-cp", str(JAVA_CLIENT), "lamplighter.runtime.About"),
    re.compile(r"(11|17|21|25)(?=\.)"),
    "java{}",
)
LANGUAGES = (RUBY, JAVA, NODEJS, PYTHON)
