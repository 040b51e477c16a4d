"""`lamplighter env`: the variables that make every AWS tool of a shell talk to this service."""

import shlex

import click

from lamplighter.cli.options import settings_of, settings_options
from lamplighter.cli.owner import access


@click.command(short_help="Print the variables that point AWS tools to the service.")
@settings_options("data_dir", "host", "port", "region")
def env(**flags: str | None) -> None:
    """Print lines for the shell that point the AWS CLI and SDKs to the service: endpoint, region and credentials.

    The credentials are those that the first `lamplighter serve` made in the data directory; only the user who runs the
    service, and root, can read them. The service need not be running.

    \b
    Examples:
      eval "$(lamplighter env)"
      eval "$(lamplighter env --data-dir /srv/lamplighter --port 8080)"
      lamplighter env | ssh build-host 'cat > lamplighter.env'
    """
    found = access(settings_of(flags))
    variables = {
        "AWS_ENDPOINT_URL": found.url,
        "AWS_REGION": found.region,
        "AWS_DEFAULT_REGION": found.region,
        "AWS_ACCESS_KEY_ID": found.keys.access_key,
        "AWS_SECRET_ACCESS_KEY": found.keys.secret_key,
    }
    for name, value in variables.items():
        click.echo(f"export {name}={shlex.quote(value)}")
