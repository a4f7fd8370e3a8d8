"""Pages out of templates that lie beside the modules of a room: HTML and Markdown."""

from __future__ import annotations

from collections.abc import Callable

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape


def templates(package: str, **filters: Callable[..., object]) -> Environment:
    """The templates of a package, with filters of its own. Values are escaped in HTML, and in Markdown stand as is."""
    environment = Environment(
        loader=PackageLoader(package, "."),
        autoescape=select_autoescape(),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(filters)
    return environment
