"""The templates of this room, and what all of them may use."""

from __future__ import annotations

from collections.abc import Callable
from importlib import resources

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from rushes.report.text import compact, duration, plain


def asset(name: str) -> Markup:
    """The text of a file of this room, to stand in a page as it is."""
    return Markup(resources.files("rushes.report").joinpath(name).read_text("utf-8"))


def templates(**filters: Callable[..., object]) -> Environment:
    """The templates, with filters of a page's own beside those for names, numbers and seconds."""
    environment = Environment(
        loader=PackageLoader("rushes.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(css=asset("page.css"))
    environment.filters.update(plain=plain, compact=compact, duration=duration, **filters)
    return environment
