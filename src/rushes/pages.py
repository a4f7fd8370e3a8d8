"""Pages out of templates that lie beside the modules of a room: HTML and Markdown."""

from __future__ import annotations

import re
from collections.abc import Callable

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape


def templates(package: str, **filters: Callable[..., object]) -> Environment:
    """The templates of a package, with filters of its own. Values are escaped in HTML, and in Markdown by `md`."""
    environment = Environment(
        loader=PackageLoader(package, "."),
        autoescape=select_autoescape(),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(filters, md=in_markdown)
    return environment


_MARKS = re.compile(r"[\\`*_\[\]<>|~&]|(?<=:)/(?=/)|(?<=www)\.", re.IGNORECASE)


def in_markdown(text: object) -> str:
    """A text that stands in Markdown as it is, in one line: no mark, no HTML and no address in it is one."""
    return _MARKS.sub(r"\\\g<0>", " ".join(str(text).split()))
