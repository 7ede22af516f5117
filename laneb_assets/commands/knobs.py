"""`laneb knobs` and `laneb profiles`: what there is to set."""

import textwrap

import click

from laneb.knob_index import Knob, all_knobs, nearest
from laneb.settings import load_profile, profile_names

WIDTH = 80


def profiles_command() -> None:
    """Print each profile's name and what it is for."""
    for name in profile_names():
        meaning = load_profile(name).get("description", "")
        click.echo(textwrap.fill(f"{name}: {meaning}", WIDTH, subsequent_indent="    "))


def knobs_command(word: str) -> int:
    """Print the knobs that a word finds; the exit status: 1 when there is none."""
    wanted = word.strip().lower()
    found = [knob for knob in all_knobs() if wanted in f"{knob.key} {knob.env} {knob.info.description}".lower()]
    if not found:
        names = [name for knob in all_knobs() for name in (knob.key, knob.env)]
        click.echo(f"laneb: no knob's name or meaning holds {word!r}.{nearest(word, names)}", err=True)
        return 1
    click.echo("\n\n".join(described(knob) for knob in found))
    return 0


def described(knob: Knob) -> str:
    """A knob in a few lines of 80 columns: name and variable, meaning, what is allowed, default."""
    default = knob.info.default
    shown = (
        "none" if default in ("", None, ()) else ",".join(map(str, default)) if isinstance(default, tuple) else default
    )
    lines = [f"{knob.info.description}.", f"Allowed: {knob.allowed}. Default: {shown}"]
    body = [textwrap.fill(line, WIDTH, initial_indent="    ", subsequent_indent="    ") for line in lines]
    head = f"{knob.key}  {knob.env}"
    return "\n".join([head if len(head) <= WIDTH else f"{knob.key}\n    {knob.env}", *body])
