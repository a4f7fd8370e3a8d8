"""scripts/prose finds what docs/style.md rules out, and lets its rewrites pass."""

from __future__ import annotations

from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).resolve().parents[1] / "scripts" / "prose"
# As an audit of the prose found them, with a rewrite of each.
QUOTES = {
    "Of two experts each has figures of its own.": "For two-expert models, each expert has figures.",
    "Losers that are encoded as winners are, -0.045 against these.": "Encoding them like winners is better by 0.045.",
    "Hardly a pair is seen twice, none is called so, not for want of pairs.": "No run is flagged as memorised.",
    "At 48 steps DPO is ahead; at 192 the anchored one is.": "At 192 steps DPO with the SFT term is better.",
    "Takes of one trained model share its luck.": "Takes of one trained model are not independent.",
    "The trial pulls with the same force all along.": "The trial uses a constant gradient weight.",
    "It is a run without an anchor whose weight was below 0.03.": "The run has no SFT term.",
    "A pair took 2.0 steps at 1.04 times the memory, 1.6 to 2.0 at 1.14 times, and naive steps 2.2 to 3.0 at 2.0.": (
        "A pair took 2.0 steps at 1.04 times the memory."
    ),
    "A view alone keeps no\nprocessor busy.": "One view cannot saturate the device.",
    "Fine-tuning alone takes 0.028 off.": "Fine-tuning alone reduces them by 0.028.",
    "[A](a) b, [C](c) d, [E](e) f, [G](g) h, [I](i) j, [K](k) l.": "[A](a) has b.",
    "Near a threshold is where a label tells most.": "Labels near a threshold are the most informative.",
    "Captions go before a table; a mixed folder is asked about, not guessed.": "Captions take precedence over a table.",
    "Harm is said earlier than success.": "The bar for reporting harm is lower.",
    "What no word fits is other.": "Clips that match no topic are other.",
    "Files of other settings stay.": "Files made with other settings stay.",
    "'won' is no vote; write win, tie or loss": "'won' is not a valid vote; use win, tie or loss",
    "The answer hung on what else was asked.": "The answer depended on the other arms.",
    "label.by: nobody is named; set it": "label.by is 'none'; set it",
    "how losers are told apart": "how losers are distinguished",
    "It was learned by\nheart.": "It was memorised.",
    "400 steps of 8 were run.": "400 steps were run at batch size 8.",
    "It was tested on a processor.": "It was tested on a CPU.",
    "No metric tells {second} from {first}.": "No metric distinguishes them.",
    "The step takes 2 GiB.": "The step uses 2 GiB.",
    "|  | whole number | that it consists of |": "|  | whole number | files of the copy |",
}


@pytest.fixture(scope="module")
def prose() -> ModuleType:
    loader = SourceFileLoader("prose", str(SCRIPT))
    spec = spec_from_loader("prose", loader)
    assert spec is not None
    module = module_from_spec(spec)
    loader.exec_module(module)
    return module


@pytest.mark.parametrize("quote", QUOTES, ids=range(len(QUOTES)))
def test_a_quote_of_the_audit_is_ruled_out_and_its_rewrite_is_not(prose: ModuleType, quote: str) -> None:
    assert list(prose.faults(quote)), quote
    assert list(prose.faults(QUOTES[quote])) == []


def test_a_phrase_over_two_strings_or_comments_is_seen_at_its_line(
    prose: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "a.py"
    source.write_text('x = 1\ny = ("they are told "\n     "apart")\n# learned by\n# heart\nlearned_by = heart = 2\n')
    assert prose.main([str(source)]) == 1
    assert [line.split(":")[1] for line in capsys.readouterr().out.splitlines()] == ["2", "4"]


def test_code_tables_and_quoted_names_of_a_page_may_say_anything(prose: ModuleType, tmp_path: Path) -> None:
    page = tmp_path / "a.md"
    page.write_text(
        "The name `told apart` stays.\n\n```sh\n# steps of 8\n```\n\n| 1.1 | 2.2 | 3.3 | 4.4 | 5.5 | 6.6 | 7.7 | 8.8\n"
    )
    assert prose.main([str(page)]) == 0
