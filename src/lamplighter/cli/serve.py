"""`lamplighter serve`: the service in the foreground, until a signal."""

import sys

import click

from lamplighter import app, startup
from lamplighter.cli.options import Refusal, settings_of, settings_options


@click.command(short_help="Start the service.")
@settings_options()
def serve(**flags: str | None) -> None:
    """Start the service and serve until Ctrl-C or SIGTERM.

    The first start makes the data directory and credentials in it. One line says when the service is ready. On Ctrl-C
    or SIGTERM it takes no new calls, lets those in flight finish, ends the environments and exits; a second signal
    ends it at once.

    \b
    Examples:
      lamplighter serve
      lamplighter serve --port 8080 --region eu-central-1
      lamplighter serve --host 0.0.0.0 --data-dir /srv/lamplighter
      lamplighter serve --data-dir /tmp/throw-away --auth off        for tests on this machine only
      LAMPLIGHTER_ISOLATION=full lamplighter serve                   rather no start than a weaker sandbox
    """
    settings = settings_of(flags)
    try:
        code = app.serve(settings, on_ready=click.echo)  # echo flushes, also into a pipe
    except startup.StartupError as error:
        raise Refusal(error) from None
    sys.exit(code)
