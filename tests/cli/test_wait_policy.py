"""How threads of OpenMP wait, as its library says it when torch loads it."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

LIBRARY = "import rushes, torch; rushes.__version__"
COMMAND = """
from rushes.cli import main
try:
    main(["--version"])
except SystemExit:
    pass
import torch
"""


@pytest.mark.skipif(sys.platform != "linux", reason="GNU's OpenMP, which says what it was told")
@pytest.mark.parametrize(
    ("program", "own", "spins"), [(COMMAND, None, False), (COMMAND, "active", True), (LIBRARY, None, True)]
)
def test_the_command_has_threads_wait_passively_unless_told(program: str, own: str | None, spins: bool) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    environment |= {"OMP_DISPLAY_ENV": "VERBOSE"} | ({"OMP_WAIT_POLICY": own} if own else {})
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment)
    (count,) = {*re.findall(r"GOMP_SPINCOUNT = '(\w+)'", ran.stderr)}
    assert (count != "0") == spins
