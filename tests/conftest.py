"""What all tests share: one thread, no hub, the real clips, the browser."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

if gc.isenabled():  # until all is imported and collected, of which nothing goes away again
    gc.disable()
# Before torch is imported: stored curves are exact only for one number of threads.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["MKL_NUM_THREADS"] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"
# A shell that starts the suite in the background has Ctrl-C ignored in it and in all that it starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

from .forked import NO_WAIT
from .projects import (  # noqa: F401
    WITHOUT_TORCH,
    WithoutTorch,
    command,
    contents,
    finished,
    project,
    rushes,
    small,
    stages,
    stop,
    whole,
)

if TYPE_CHECKING:
    import torch
    from playwright.sync_api import Browser

exec(NO_WAIT)

# No deadline, as a busy machine is no failure; no stored examples, and the same ones each time.
hypothesis.settings.register_profile("rushes", deadline=None, database=None, derandomize=True)
hypothesis.settings.load_profile("rushes")

REPOSITORY = Path(__file__).resolve().parents[1]
NO_CLIPS = "real clips not found: set RUSHES_DATA"
NO_BROWSER = "chromium not found"
NO_CUDA = "no GPU that torch can use"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all", action="store_true", help="also tests marked whole, which take hours")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Keep millions of objects that live as long as the tests out of each search for those that do not."""
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out tests marked whole, unless all are asked for."""
    if config.getoption("--all"):
        return
    left_out = [item for item in items if item.get_closest_marker("whole")]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


@pytest.fixture(scope="session", autouse=True)
def nothing_allowed(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What this user allows (`rushes trust`) is not what the tests allow."""
    os.environ["XDG_CONFIG_HOME"] = str(tmp_path_factory.mktemp("config"))
    os.environ.pop("RUSHES_TRUST", None)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of the real clips: RUSHES_DATA, else shared/data beside the repository."""
    named = os.environ.get("RUSHES_DATA")
    folder = Path(named) if named else REPOSITORY.parent / "shared" / "data"
    if named and not folder.is_dir():
        pytest.fail(f"RUSHES_DATA names {folder}, which is not a folder")
    if not folder.is_dir():
        pytest.skip(NO_CLIPS)
    return folder


@pytest.fixture(scope="session")
def short_bench(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first two prompts of the real bench with their videos, as a folder of its own."""
    bench, short = real_data / "realaction" / "bench", tmp_path_factory.mktemp("bench")
    if not bench.is_dir():
        pytest.skip(NO_CLIPS)
    prompts = (bench / "prompts.txt").read_text(encoding="utf-8").splitlines()[:2]
    (short / "prompts.txt").write_text("\n".join(prompts), encoding="utf-8")
    for at in range(len(prompts)):
        for path in bench.glob(f"*/{at}.*"):
            (short / path.parent.name).mkdir(exist_ok=True)
            (short / path.parent.name / path.name).write_bytes(path.read_bytes())
    return short


@pytest.fixture(scope="session")
def without_torch() -> WithoutTorch:
    """Run a command in a process of its own that cannot import torch."""

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        words = [sys.executable, "-c", WITHOUT_TORCH, *map(str, arguments)]
        environment = {**os.environ, "COLUMNS": "120"}
        return subprocess.run(words, capture_output=True, text=True, check=False, env=environment)

    return run


@pytest.fixture
def cuda() -> torch.device:
    """The GPU that the tests marked `cuda` run on."""
    import torch

    if not torch.cuda.is_available():
        pytest.skip(NO_CUDA)
    return torch.device("cuda")


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of the browser that the tests marked `browser` drive."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(name):
            return path
    pytest.skip(NO_BROWSER)


@pytest.fixture(scope="session")
def browser(chromium: str) -> Iterator[Browser]:
    """The one browser of all tests: its driver can run once in a process."""
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        yield opened
        opened.close()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many tests were skipped for want of real clips, of a browser or of a GPU."""
    skipped = [str(report.longrepr) for report in terminalreporter.getreports("skipped")]
    for reason in (NO_CLIPS, NO_BROWSER, NO_CUDA):
        if count := sum(reason in text for text in skipped):
            terminalreporter.write_line(f"{count} tests skipped: {reason}")
