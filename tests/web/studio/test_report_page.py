"""Reports: one address each time, an origin of their own, and no file that is not one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from rushes.web.studio.report_page import OpenAddresses, sections

from .studying import Caller, calling, make_project


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = make_project(tmp_path / "project", groups=1)
    (folder / "reports" / "one.html").write_text("<script>1</script>")
    return folder


@pytest.fixture
def caller(folder: Path) -> Iterator[Caller]:
    with calling(folder, sections) as found:
        yield found


def test_a_report_opens_once_by_its_address(caller: Caller) -> None:
    assert [row["name"] for row in caller.get("list").json()["reports"]] == ["one.html"]
    address = caller.address + caller.post("open", name="one.html").json()["address"]
    caller.client.headers.pop("authorization")  # a frame sends none
    first = caller.client.get(address)
    assert (first.status_code, first.text) == (200, "<script>1</script>")
    policy = first.headers["content-security-policy"]
    assert policy.startswith("sandbox allow-scripts") and "allow-same-origin" not in policy
    assert "default-src 'none'" in policy and "frame-ancestors 'self'" in policy and "connect-src" not in policy
    assert first.headers["x-content-type-options"] == "nosniff" and first.headers["cache-control"] == "no-store"
    assert caller.client.get(address).status_code == 404
    assert caller.client.get(f"{caller.address}/api/report/page/none").status_code == 404


def test_only_the_page_around_reports_may_hold_a_frame(caller: Caller) -> None:
    page = caller.client.get(f"{caller.address}/report")
    assert "frame-src 'self'" in page.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
    assert "frame-src" not in caller.client.get(f"{caller.address}/static/report.js").headers["content-security-policy"]


def test_who_may_not_open_gets_no_address(caller: Caller) -> None:
    caller.client.headers["authorization"] = "Bearer none"
    assert caller.post("open", name="one.html").status_code == 401 and caller.get("list").status_code == 401


def test_an_address_ends_after_a_minute() -> None:
    now = [0.0]
    addresses = OpenAddresses(lambda: now[0])
    first, second = addresses.new("a"), addresses.new("b")
    now[0] = 59.0
    assert addresses.take(first) == "a" and addresses.take(first) is None
    now[0] = 61.0
    assert addresses.take(second) is None
    words = [addresses.new(str(at)) for at in range(300)]
    assert addresses.take(words[0]) is None and addresses.take(words[-1]) == "299"


def test_names_and_links_lead_nowhere(caller: Caller, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.html").write_text("secret")
    os.symlink(tmp_path / "secret.html", folder / "reports" / "linked.html")
    (folder / "reports" / "folder.html").mkdir()
    (folder / "reports" / ".one.html.part.html").write_text("half")
    assert [row["name"] for row in caller.get("list").json()["reports"]] == ["one.html"]
    for name in (
        "linked.html",
        "folder.html",
        "../../secret.html",
        "one.json",
        "..",
        "/etc/hostname",
        ".one.html.part.html",
    ):
        assert caller.post("open", name=name).status_code == 404
    # what becomes a link after it was asked for is not followed
    address = caller.post("open", name="one.html").json()["address"]
    (folder / "reports" / "one.html").unlink()
    os.symlink(tmp_path / "secret.html", folder / "reports" / "one.html")
    assert caller.client.get(caller.address + address).status_code == 404


def test_a_folder_of_reports_that_is_a_link_is_not_followed(caller: Caller, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "x.html").write_text("secret")
    (folder / "reports").rename(folder / "away")
    os.symlink(tmp_path / "elsewhere", folder / "reports")
    assert caller.get("list").json()["reports"] == []


def test_a_project_without_reports_says_what_writes_one(tmp_path: Path) -> None:
    with calling(tmp_path / "none", sections) as caller:
        assert f"`rushes report {tmp_path / 'none'}`" in caller.get("list").json()["nothing"]
