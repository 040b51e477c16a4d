"""The `lamplighter` command."""

from lamplighter.cli.commands import lamplighter


def main() -> None:
    lamplighter(prog_name="lamplighter")


if __name__ == "__main__":
    main()
