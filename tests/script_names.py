"""Names that a script of our pages declares, by as much of the grammar of JavaScript as these scripts use."""

from __future__ import annotations

import re
from collections.abc import Iterator

_SILENT = re.compile(  # what declares nothing, whatever its letters
    r"""//[^\n]*|/\*.*?\*/|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'"""
    r"""|(?P<template>`(?:[^`\\$]|\\.|\$(?!\{)|\$\{[^`{}]*\})*`)"""
    r"""|(?<=[=(,:&|?!])\s*/(?:[^/\\\n\[]|\\.|\[(?:[^\]\\\n]|\\.)*\])+/[a-z]*""",
    re.DOTALL,
)
_DECLARATION = re.compile(r"\b(?:const|let|var)\s+(?=[\w$\[{])")
_FUNCTION = re.compile(
    r"\bfunction\b\s*\*?\s*(?P<name>[\w$]*)\s*\(|^\s+(?:async |static |get |set )*(?P<method>[\w$]+)\(", re.M
)
_ARROW = re.compile(r"(?:(?P<parameter>[\w$]+)|(?P<end>\)))\s*=>")
_OTHERS = re.compile(r"\bclass\s+([\w$]+)|\bthis\.([\w$]+)\s*=(?![=>])|\bcatch\s*\(([\w$]+)\)")
_PAIRS = {"(": ")", "[": "]", "{": "}"}


def declared_names(text: str) -> Iterator[tuple[str, int]]:
    """Constants, variables, parameters, functions, methods, classes and fields of `this`, each with its line."""
    code = _SILENT.sub(_silenced, text)
    for name, at in _declared(code):
        yield name, code.count("\n", 0, at) + 1


def _silenced(match: re.Match[str]) -> str:
    """What counts of a comment, a text or a regular expression: its lines, and of a template the code in it."""
    inside = "".join(re.findall(r"\$\{([^`{}]*)\}", match[0])) if match["template"] else ""
    return f'"" {inside}' + "\n" * (match[0].count("\n") - inside.count("\n"))


def _declared(code: str) -> Iterator[tuple[str, int]]:
    for match in _DECLARATION.finditer(code):
        for part in _parts(code[match.end() :]):
            yield from ((name, match.start()) for name in _bound(part))
    for match in _FUNCTION.finditer(code):
        start, end = match.end() - 1, _closing(code, match.end() - 1)
        if match["method"] and not code[end + 1 :].lstrip(" ").startswith("{"):
            continue  # a call
        if match["method"] in ("if", "for", "while", "switch", "catch"):
            continue
        yield match["name"] or match["method"] or "", match.start()
        yield from ((name, start) for part in _parts(code[start + 1 : end]) for name in _bound(part))
    for match in _ARROW.finditer(code):
        if match["parameter"]:
            yield match["parameter"], match.start()
            continue
        end = match.start("end")
        start = _opening(code, end)
        yield from ((name, start) for part in _parts(code[start + 1 : end]) for name in _bound(part))
    for match in _OTHERS.finditer(code):
        yield next(filter(None, match.groups())), match.start()


def _closing(code: str, at: int) -> int:
    """Where the bracket at `at` is closed."""
    depth = 0
    for index in range(at, len(code)):
        depth += (code[index] in "([{") - (code[index] in ")]}")
        if not depth:
            return index
    raise ValueError(f"a bracket is not closed: {code[at : at + 60]!r}")


def _opening(code: str, at: int) -> int:
    """Where the bracket that `at` closes is opened."""
    depth = 0
    for index in range(at, -1, -1):
        depth += (code[index] in ")]}") - (code[index] in "([{")
        if not depth:
            return index
    raise ValueError(f"a bracket is not opened: {code[max(0, at - 60) : at + 1]!r}")


def _parts(code: str) -> Iterator[str]:
    """What commas separate outside of brackets, up to the end of the statement or of the bracket around it."""
    start = at = 0
    while at < len(code) and code[at] not in ";)]}":
        if code[at] in _PAIRS:
            at = _closing(code, at)
        elif code[at] == ",":
            yield code[start:at]
            start = at + 1
        at += 1
    yield code[start:at]


def _bound(pattern: str) -> Iterator[str]:
    """Names that a variable or a pattern binds: of `{ a, b: [c, d = 1], ...e }` these are a, c, d and e."""
    pattern = pattern.strip().removeprefix("...")
    if pattern[:1] in ("{", "["):
        for part in _parts(pattern[1 : _closing(pattern, 0)]):
            key = re.match(r"\s*[\w$]+\s*:", part) if pattern[0] == "{" else None
            yield from _bound(part[key.end() :] if key else part)
    elif match := re.match(r"[\w$]+", pattern):
        yield match[0]
