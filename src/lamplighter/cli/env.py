"""`lamplighter env`: the variables that make every AWS tool of a shell talk to this service."""

import shlex

import click

from lamplighter.cli.options import Misuse, Refusal, settings_of, settings_options
from lamplighter.store.credentials import CredentialsUnusable, load


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
    settings = settings_of(flags)
    if settings.port == 0:
        raise Misuse("Which port? The service was told to take any free one; give the one it printed as --port.")
    try:
        credentials = load(settings.data_dir)
    except CredentialsUnusable as error:
        raise Refusal(error) from None
    if credentials is None:
        start = f"lamplighter serve --data-dir {shlex.quote(str(settings.data_dir))}"
        raise Refusal(
            f"There are no credentials in {settings.data_dir} yet; the first start of the service makes them: {start}, "
            "or name the directory that it uses with --data-dir."
        )
    variables = {
        "AWS_ENDPOINT_URL": settings.url,
        "AWS_REGION": settings.region,
        "AWS_DEFAULT_REGION": settings.region,
        "AWS_ACCESS_KEY_ID": credentials.access_key_id,
        "AWS_SECRET_ACCESS_KEY": credentials.secret_access_key,
    }
    for name, value in variables.items():
        click.echo(f"export {name}={shlex.quote(value)}")
