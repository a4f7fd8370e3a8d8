"""Stores and rows, as the tests of the store have them."""

from __future__ import annotations

from ..store.conftest import make, start, store  # noqa: F401
