"""`lamplighter runtimes`: what functions can be run with here, where each comes from, and how to get more."""

from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from lamplighter.cli.console import for_tables
from lamplighter.cli.options import Refusal
from lamplighter.runtimes import catalogue
from lamplighter.runtimes import install as installing


@click.group(invoke_without_command=True, short_help="List the runtimes, where each comes from, or install one.")
@click.option("--all", "everything", is_flag=True, help="Those too that this host has no interpreter for.")
@click.option("--names", is_flag=True, help="Only the names, one per line, Python's newest last; for scripts.")
@click.pass_context
def runtimes(context: click.Context, everything: bool, names: bool) -> None:
    """List the runtimes that functions can use on this host, and the interpreter that each runs on.

    The service looks for interpreters when it starts: on the PATH, and where pyenv, uv, nvm and `lamplighter runtimes
    install` put them.

    \b
    Examples:
      lamplighter runtimes
      lamplighter runtimes --all                    also what could be installed, and how
      lamplighter runtimes --names | tail -1        Python's newest, for a script
      lamplighter runtimes install nodejs22.x
    """
    if context.invoked_subcommand is not None:
        return
    found = catalogue.installed()
    if names:
        for name in found:
            click.echo(name)
        return
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    table.add_column("runtime", no_wrap=True)
    table.add_column("version", no_wrap=True)
    table.add_column("comes from" + (", or how to get it" if everything else ""), overflow="fold")
    for name, runtime in found.items():
        table.add_row(name, runtime.version, str(runtime.interpreter or "the function's own bootstrap"))
    if everything:
        for name, known in catalogue.RUNTIMES.items():
            if name not in found and known.state != "retired":
                table.add_row(name, "not here", catalogue.remedy(name))
    for_tables().print(table)


@runtimes.command(short_help="Install the interpreter of a runtime.")
@click.argument("runtime")
@click.option(
    "--into",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Where, if not where the service looks; then put DIR/bin on the PATH of the service.",
)
@click.option("--upgrade", is_flag=True, help="Replace one that is there by the newest release.")
def install(runtime: str, into: Path | None, upgrade: bool) -> None:
    """Install the interpreter of a runtime: Node.js 20 to 26, from the package registry of npm, or else of pip. For
    others it says how to get them.

    What is installed already stays as it is. As root it is installed for the host, else for oneself; the service finds
    it at its next start.

    \b
    Examples:
      lamplighter runtimes install nodejs22.x
      lamplighter runtimes install nodejs22.x --upgrade
      lamplighter runtimes install nodejs22.x --into /srv/node22
    """
    if not runtime.startswith("nodejs"):
        present = catalogue.installed().get(runtime)
        if present is None:
            raise Refusal(catalogue.remedy(runtime))
        origin = f"{present.version}, {present.interpreter}" if present.interpreter else "it needs no interpreter"
        click.echo(f"{runtime} is here already: {origin}.")
        return
    place = into.absolute() if into else installing.default_place(runtime)
    console = Console(highlight=False, markup=False, stderr=True)
    with console.status(f"{runtime}: looking for the newest release") as status:

        def progress(step: str) -> None:
            if not console.is_terminal:
                console.print(f"{runtime}: {step} …")
            status.update(f"{runtime}: {step}")

        try:
            done = installing.install(runtime, place, installing.available_source(), progress, upgrade)
        except installing.InstallError as error:
            raise Refusal(error) from None
    if done.is_new:
        click.echo(f"{runtime} is installed: {done.version}, {done.program}. Start Lamplighter again to use it.")
    else:
        click.echo(f"{runtime} is installed already: {done.version}, {done.program}.")
