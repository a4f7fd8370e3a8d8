from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest
import torch
import torch.utils.deterministic

from rushes.training.determinism import check_workspace, deterministic, set_workspace

switches: Any = torch.utils.deterministic  # a module whose one setting is a property that the stubs lack

VARIABLE = "CUBLAS_WORKSPACE_CONFIG"

CHILD = """
import os, sys
import rushes
assert "CUBLAS_WORKSPACE_CONFIG" not in os.environ and "torch" not in sys.modules, "the import"
import rushes.cli
assert "CUBLAS_WORKSPACE_CONFIG" not in os.environ, "the import of the command line"
before = []

class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            before.append(os.environ.get("CUBLAS_WORKSPACE_CONFIG"))

sys.meta_path.insert(0, Watch())
try:
    rushes.cli.main(["settings", "--json"])
except SystemExit:
    pass
assert before == [":4096:8"], before
"""


def test_the_command_line_tells_cublas_before_torch_is_imported_and_an_import_tells_nothing() -> None:
    environment = {name: value for name, value in os.environ.items() if name != VARIABLE}
    environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    result = subprocess.run([sys.executable, "-c", CHILD], capture_output=True, text=True, env=environment, check=False)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("value", [":4096:8", ":16:8"])
def test_what_torch_accepts_is_accepted(value: str) -> None:
    check_workspace({VARIABLE: value})


@pytest.mark.parametrize(
    ("environment", "words"), [({}, "was not set before this process used CUDA"), ({VARIABLE: ":0:0"}, "is ':0:0'")]
)
def test_a_process_that_did_not_tell_cublas_gets_the_line_to_set(environment: dict[str, str], words: str) -> None:
    with pytest.raises(ValueError) as refused:
        check_workspace(environment)
    text = str(refused.value)
    assert text.startswith(f"train.deterministic: {VARIABLE} {words}; put `import os; os.environ[")
    assert f"os.environ[{VARIABLE!r}] = ':4096:8'` before the first import of torch" in text


@pytest.mark.parametrize(("used", "refused"), [(False, False), (True, True)])
def test_a_run_on_a_gpu_starts_only_where_cublas_was_told(
    used: bool, refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`used`: whether the process used CUDA before, when it is too late to set the variable."""
    monkeypatch.setenv(VARIABLE, "")  # so that it is put back
    monkeypatch.delenv(VARIABLE)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: used)
    if refused:
        set_workspace()
        with pytest.raises(ValueError, match=r"train\.deterministic"), deterministic(True):
            pass
        assert VARIABLE not in os.environ
    else:
        with deterministic(True):
            assert os.environ[VARIABLE] == ":4096:8"
    with deterministic(False):
        pass


@pytest.mark.parametrize("fills", [True, False])
def test_new_memory_is_not_filled_during_a_run(fills: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(switches, "fill_uninitialized_memory", fills)
    with deterministic(True):
        assert torch.are_deterministic_algorithms_enabled() and not switches.fill_uninitialized_memory
    assert switches.fill_uninitialized_memory is fills
    with deterministic(False):
        assert switches.fill_uninitialized_memory is fills
