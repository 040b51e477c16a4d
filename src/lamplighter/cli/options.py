"""Flags made from the table in `settings/options.py`, so that flag, variable and key in the file can't drift apart."""

import os
from collections.abc import Callable
from typing import Any, TypeVar

import click

from lamplighter.settings.choices import Settings
from lamplighter.settings.options import OPTIONS
from lamplighter.settings.reading import CONFIG_FLAG, CONFIG_VARIABLE, SettingsError, read_settings

F = TypeVar("F", bound=Callable[..., object])


class Refusal(click.ClickException):
    """One sentence on stderr, and exit code 1."""

    def __init__(self, sentence: object) -> None:
        super().__init__(str(sentence))

    def show(self, file: Any = None) -> None:
        click.echo(f"lamplighter: {self.message}", err=True)


class Misuse(Refusal):
    """The command was given what it can't use: exit code 2, as click has it for unknown flags."""

    exit_code = 2


def settings_options(*names: str) -> Callable[[F], F]:
    """Give a command the flags of these settings (none named: all) and --config, as the keyword `flags`."""

    def decorate(command: F) -> F:
        rows = [option for option in OPTIONS if not names or option.name in names]
        click.option(
            CONFIG_FLAG,
            "config",
            metavar="FILE",
            help=f"A TOML file with settings. [{CONFIG_VARIABLE}; default: lamplighter.toml in the data directory]",
        )(command)
        for option in reversed(rows):
            click.option(
                option.flag,
                option.name,
                metavar=option.metavar,
                help=f"{option.help} [{option.variable}; default: {option.default}]",
            )(command)
        return command

    return decorate


def settings_of(flags: dict[str, str | None]) -> Settings:
    """Raises Misuse."""
    try:
        return read_settings(flags, os.environ)
    except SettingsError as error:
        raise Misuse(error) from None
