"""Where pages are served, and what the links to them say."""

from __future__ import annotations

import socket

import pytest

from rushes.cli.studio import Page
from rushes.web.server import reachable
from rushes.web.site import LOCAL


@pytest.mark.parametrize(("host", "link"), [("127.0.0.1", "127.0.0.1"), ("fe80::1", "[fe80::1]"), ("me.lan", "me.lan")])
def test_a_chosen_host_stands_in_the_link(host: str, link: str) -> None:
    assert reachable(host) == link


def test_a_link_to_all_addresses_holds_one_that_others_can_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "")
    if name := reachable("0.0.0.0"):  # a machine without a network has no such address
        with socket.socket() as there:
            there.bind((name, 0))
        assert name != "0.0.0.0"


@pytest.mark.parametrize(
    ("page", "said"),
    [
        (Page(annotators=("ada",)), True),
        (Page(open_pairs=3), True),
        (Page(), False),
        (Page("0.0.0.0", annotators=("ada",)), False),
        (Page(annotators=("ada",), behind_proxy=True), False),
    ],
)
def test_links_that_open_here_alone_say_so(page: Page, said: bool) -> None:
    assert bool(page.only_here(LOCAL)) is said
