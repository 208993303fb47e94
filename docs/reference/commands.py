"""Every command of `terrasynth`, with its arguments and options."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import click

from reference.docstrings import escaped
from reference.markdown import block, code, page, table
from terrasynth.synthesis.cli import cli
from terrasynth.synthesis.cli.root import PROGRAM


def walk(command: click.Command = cli, path: tuple[str, ...] = (PROGRAM,)) -> Iterator[tuple[str, click.Command]]:
    """A command and those below it, each with what is typed to reach it."""
    yield " ".join(path), command
    if isinstance(command, click.Group):
        for name, each in command.commands.items():
            if not each.hidden:
                yield from walk(each, (*path, name))


def command_page() -> str:
    """Every command."""
    parts = ["# Commands", "What `--help` of each command says. Completion by the shell and exit codes are on [the "
             "page on the command line](../command-line.md)."]
    for path, command in walk():
        context = click.Context(command, info_name=path)
        parts += [f"## {path}", block(command.get_usage(context).removeprefix("Usage: ")), _text(command)]
        if isinstance(command, click.Group):
            parts.append(table(("command", "what it does"), (
                (code(name), escaped(each.get_short_help_str(200))) for name, each in command.commands.items()
                if not each.hidden)))
        parts.append(table(("option", "meaning"), _options(command, context)))
    return page(*parts)


def _text(command: click.Command) -> str:
    """The help as Markdown; a paragraph that keeps its lines stays as it is."""
    paragraphs = inspect.cleandoc(command.help or "").split("\n\n")
    kept = (block(each[1:].strip("\n")) if each.startswith("\b") else escaped(each) for each in paragraphs)
    return "\n\n".join(kept)


def _options(command: click.Command, context: click.Context) -> Iterator[tuple[str, str]]:
    for parameter in command.params:
        record = parameter.get_help_record(context)
        if record is not None:
            yield code(record[0]), escaped(record[1])
