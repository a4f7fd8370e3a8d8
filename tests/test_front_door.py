"""`import rushes`: about 25 names, loaded when they are used, and a page of contents."""

from __future__ import annotations

import pydoc
import re
import subprocess
import sys

import pytest

import rushes

PROGRAM = """
import os, re, sys
before = dict(os.environ)
import rushes
assert dict(os.environ) == before
for name in set(re.findall(r"rushes\\.(\\w+)", rushes.__doc__)) - {"toml"}:
    assert getattr(rushes, name).__name__ == f"rushes.{name}"
assert not {"torch", "numpy", "pydantic"} & {*sys.modules}
assert "rushes.recipes" in sys.modules
"""


def test_the_import_loads_nothing_and_changes_no_environment_variable() -> None:
    """And the packages that the docstring names are there without an import of their own."""
    result = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_help_reads_like_a_table_of_contents() -> None:
    text = pydoc.plain(pydoc.render_doc(rushes))
    contents, _, rest = text.partition("PACKAGE CONTENTS")
    assert len(contents.splitlines()) < 70
    assert all(re.search(rf"^ +{name}  +\S", contents, re.MULTILINE) for name in rushes.__all__)
    assert "dpo_loss(policy_errors: 'Tensor', reference_errors: 'Tensor | None'" in rest


def test_the_docstring_is_a_table_of_all_names() -> None:
    named = re.findall(r"^    (\w+)  +\S", rushes.__doc__ or "", re.MULTILINE)
    assert sorted(named) == rushes.__all__ and 20 <= len(named) <= 30
    assert {*rushes.__all__} < {*dir(rushes)}


def test_each_name_is_documented() -> None:
    for name in rushes.__all__:
        assert getattr(rushes, name).__doc__, name


def test_a_name_that_is_none_is_refused() -> None:
    with pytest.raises(AttributeError, match=r"module 'rushes' has no attribute 'dpo'; it has .*dpo_loss"):
        _ = rushes.dpo
    with pytest.raises(ImportError, match="dpo"):
        from rushes import dpo  # noqa: F401
