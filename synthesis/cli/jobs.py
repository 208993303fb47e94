"""The commands `jobs ...`: they speak to a server."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from terrasynth.synthesis.cli.names import RECIPES, NameType

if TYPE_CHECKING:
    from terrasynth.synthesis.service.client import Client

SERVER_VARIABLE, TOKEN_VARIABLE = "TERRASYNTH_SERVER", "TERRASYNTH_TOKEN"
SERVER = "http://127.0.0.1:8765"
_Command = TypeVar("_Command", bound=Callable[..., Any])


@click.group(short_help="Submit jobs to a server, and follow them.")
def jobs() -> None:
    """Submit jobs to a server, watch them, cancel and retry them."""


def _server_options(command: _Command) -> _Command:
    for add in (
        click.option("--token-file", type=click.Path(path_type=Path), help=f"Default: {TOKEN_VARIABLE}."),
        click.option("--server", default=lambda: os.environ.get(SERVER_VARIABLE, SERVER), metavar="URL",
                     help=f"Default: {SERVER_VARIABLE}, else {SERVER}."),
    ):
        command = add(command)
    return command


@jobs.command()
@click.argument("recipe", required=False, type=NameType(RECIPES))
@click.option("--data-set", metavar="NAME", help="The data set to make, or to go on with.")
@click.option("--set", "overrides", multiple=True, metavar="A.B=C", help="Change a setting of the recipe.")
@click.option("--shrink", is_flag=True, help="Give up rows that the data set has beyond a smaller target.")
@click.option("--spec", type=click.Path(path_type=Path, allow_dash=True), metavar="FILE",
              help="A job of any kind instead, in JSON or YAML; - for standard input.")
@click.option("--priority", default=0, show_default=True, type=click.IntRange(-1000, 1000), help="Higher goes first.")
@click.option("--key", help="The same key never makes a second job.")
@click.option("--follow", "watch", is_flag=True, help="Stay, and print its events.")
@_server_options
def submit(
    recipe: str | None, data_set: str | None, overrides: Sequence[str], shrink: bool, spec: Path | None, priority: int,
    key: str | None, watch: bool, server: str, token_file: Path | None,
) -> None:
    """Make the data set of RECIPE (a file, or a shipped name) on the server; without RECIPE, go on with --data-set."""
    client = _client(server, token_file)
    tree = _spec(recipe, data_set, overrides, shrink) if spec is None else _read(spec)
    job = client.submit(tree, priority, key)
    click.echo(job["id"])
    if watch:
        _follow(client, job["id"])


@jobs.command("list")
@click.option("--state", help="Only those in this state.")
@click.option("--kind", help="Only those of this kind.")
@click.option("--data-set", help="Only those about this data set.")
@click.option("--before", metavar="ID", help="Only those older than this one.")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 200), help="Most jobs.")
@_server_options
def list_jobs(
    state: str | None, kind: str | None, data_set: str | None, before: str | None, limit: int, server: str,
    token_file: Path | None,
) -> None:
    """List jobs, the newest first."""
    page = _client(server, token_file).list(state=state, kind=kind, data_set=data_set, before=before, limit=limit)
    for job in page["jobs"]:
        about = f"{job['kind']:<8}  {job['data_set'] or '-':<24}  {_share(job)}".rstrip()
        click.echo(f"{job['id']}  {job['state']:<13}  {about}")
    if page["next"]:
        click.echo(f"more with --before {page['next']}", err=True)


@jobs.command()
@click.argument("job")
@click.option("--log", "wants_log", is_flag=True, help="What it printed, instead.")
@_server_options
def show(job: str, wants_log: bool, server: str, token_file: Path | None) -> None:
    """Show a job as JSON."""
    client = _client(server, token_file)
    click.echo(client.log(job) if wants_log else json.dumps(client.get(job), indent=2))


@jobs.command()
@click.argument("job")
@click.option("--after", default=0, type=click.IntRange(0), metavar="NUMBER", help="Only events after this one.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@_server_options
def follow(job: str, after: int, as_json: bool, server: str, token_file: Path | None) -> None:
    """Print the events of a job until it has ended; exit 0 if it succeeded or waits for review, else 1.

    A server that is started again meanwhile is asked again, and no event is printed twice.
    """
    _follow(_client(server, token_file), job, after, as_json)


@jobs.command()
@click.argument("job")
@_server_options
def cancel(job: str, server: str, token_file: Path | None) -> None:
    """End a job: at once if it waits, after its block if it is at work; what it has made stays."""
    found = _client(server, token_file).cancel(job)
    click.echo("canceled" if found["state"] == "canceled" else "it ends after the block that is being drawn")


@jobs.command()
@click.argument("job")
@click.option("--follow", "watch", is_flag=True, help="Stay, and print its events.")
@_server_options
def retry(job: str, watch: bool, server: str, token_file: Path | None) -> None:
    """Put a job that ended without success into the queue again; it goes on where it was."""
    client = _client(server, token_file)
    ended = watch and client.has_ended(job)  # else the server refuses to retry it
    last = max((event["number"] for event in client.follow(job)), default=0) if ended else 0
    click.echo(client.retry(job)["state"])
    if watch:
        _follow(client, job, last)


def _client(server: str, token_file: Path | None) -> Client:
    from terrasynth.synthesis.core.errors import InputError, one_line
    from terrasynth.synthesis.service.client import Client

    if token_file is None:
        return Client(server, os.environ.get(TOKEN_VARIABLE) or None)
    try:
        return Client(server, token_file.read_text(encoding="utf-8").strip())
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"token file {str(token_file)!r} cannot be read: {one_line(error)}; name another") from error


def _spec(recipe: str | None, data_set: str | None, overrides: Sequence[str], shrink: bool) -> dict[str, Any]:
    from terrasynth.synthesis.core.errors import InputError
    from terrasynth.synthesis.recipe import Recipe

    if data_set is None:
        raise InputError("a job needs --data-set NAME, or --spec FILE; give one of them")
    if recipe is None and overrides:
        raise InputError("--set changes a recipe; name one")
    tree = None if recipe is None else Recipe.load(recipe, overrides).tree()
    return {"kind": "run", "data_set": data_set, "recipe": tree, "shrink": shrink}


def _read(file: Path) -> dict[str, Any]:
    import yaml

    from terrasynth.synthesis.core.errors import InputError, one_line

    try:
        with click.open_file(str(file), encoding="utf-8") as opened:
            tree = yaml.safe_load(opened)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"--spec {str(file)!r} cannot be read: {one_line(error, 200)}; write JSON or YAML") from error
    if not isinstance(tree, dict):
        raise InputError(f"--spec {str(file)!r} holds no settings; start it with `kind: export`")
    return tree


def _follow(client: Client, job: str, after: int = 0, as_json: bool = False) -> None:
    from terrasynth.synthesis.core.errors import RunError

    for event in client.follow(job, after):
        line = f"{event['time'][11:19]}  {event['type']:<10}  {_said(event)}".rstrip()
        click.echo(json.dumps(event) if as_json else line)
    found = client.get(job)
    if found["state"] not in ("succeeded", "waits_for_review"):
        raise RunError(found["error"] or f"job {job} is {found['state']}; `terrasynth jobs retry {job}` goes on")


def _said(event: Mapping[str, Any]) -> str:
    """An event in a few words."""
    data = event["data"]
    match event["type"]:
        case "planned":
            return f"{sum(data['targets'])} images of {len(data['classes'])} classes, identity {data['identity']}"
        case "block" | "class_done":
            return f"{data['label']} {data['accepted']}/{data['target']} accepted of {data['attempted']} attempts"
        case "ended":
            return f"{data['state']} {data['error'] or ''}".rstrip()
        case "writing":
            return str(data["part"])
        case "started":
            return f"attempt {data['attempt']} by {data['worker']}"
    return str(data.get("reason", ""))


def _share(job: Mapping[str, Any]) -> str:
    progress = job["progress"] or {}
    return f"{progress['accepted']}/{progress['target']}" if "accepted" in progress else ""
