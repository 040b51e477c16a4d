"""The command `lamplighter` and its subcommands; each is imported when it runs, so that help and `env` come at once."""

import importlib
from importlib.metadata import version

import click

# Name -> its line in the help. The module is `cli/NAME.py`, the command in it has the same name.
COMMANDS = {
    "serve": "Start the service.",
    "env": "Print the variables that point AWS tools to the service.",
    "logs": "Show what a function has written, and what it writes.",
    "doctor": "Show what this host can do, and how to get what is missing.",
    "runtimes": "List the runtimes, and where each comes from.",
    "queue": "Show the events that wait, are retried or died.",
    "top": "Show what functions do right now.",
    "bill": "Show what a month's functions would cost on AWS.",
}


class LazyGroup(click.Group):
    """Knows its commands by name; `--help` imports none of them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        return getattr(importlib.import_module(f"lamplighter.cli.{cmd_name}"), cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _show_version(ctx: click.Context, _: click.Parameter, asked: bool) -> None:
    if asked:
        click.echo(f"Lamplighter {version('lamplighter')}")
        ctx.exit()


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.option("--version", is_flag=True, expose_value=False, is_eager=True, callback=_show_version, help="The version.")
def lamplighter() -> None:
    """Run AWS Lambda functions on your own machines.

    \b
    Examples:
      lamplighter serve                    start the service on 127.0.0.1:4566
      eval "$(lamplighter env)"            point the AWS CLI and SDKs of this shell to it
      aws lambda list-functions            … and use them as always
      lamplighter doctor                   if something does not work

    \b
    Every option is also a variable and a key in a TOML file:
      --data-dir DIR   LAMPLIGHTER_DATA_DIR=DIR   data_dir = "DIR"
    A flag wins over a variable, a variable over the file. The file is the one named by --config or
    LAMPLIGHTER_CONFIG, or else lamplighter.toml in the data directory.
    """
