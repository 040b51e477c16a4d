"""`lamplighter runtimes`: what functions can be run with here, and where each comes from."""

import click
from rich.console import Console
from rich.table import Table

from lamplighter.runtimes import catalogue
from lamplighter.runtimes.interpreters import installed


@click.command(short_help="List the runtimes, and where each comes from.")
@click.option("--all", "everything", is_flag=True, help="Those too that this host has no interpreter for.")
@click.option("--names", is_flag=True, help="Only the names, one per line, oldest first; for scripts.")
def runtimes(everything: bool, names: bool) -> None:
    """List the runtimes that functions can use on this host, and the interpreter that each runs on.

    The service looks for interpreters when it starts: on the PATH, and where pyenv and uv install them.

    \b
    Examples:
      lamplighter runtimes
      lamplighter runtimes --all                    also what could be installed, and how
      lamplighter runtimes --names | tail -1        the newest, for a script
    """
    found = installed()
    if names:
        for name in found:
            click.echo(name)
        return
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    table.add_column("runtime", no_wrap=True)
    table.add_column("version", no_wrap=True)
    table.add_column("comes from" + (", or how to get it" if everything else ""), overflow="fold")
    for name, runtime in found.items():
        table.add_row(name, runtime.version, str(runtime.interpreter))
    if everything:
        for name, known in catalogue.RUNTIMES.items():
            if name not in found and known.state != "retired":
                table.add_row(name, "not here", catalogue.remedy(name))
    console = Console(highlight=False, markup=False)
    console.print(table)
    if not found:
        console.print("There is no interpreter that functions could run on; see lamplighter runtimes --all.")
