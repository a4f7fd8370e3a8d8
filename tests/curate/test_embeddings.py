"""Embeddings by hashing, by a model behind an address, and by an encoder from a folder."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rushes.curate.embeddings import FILE, embedded, make_embedder, requests
from rushes.judges.endpoint import EndpointError

from ..fake_endpoint import Does, FakeEndpoint
from .staged import settings


def vectors(request: dict[str, Any], size: int = 8, shuffled: bool = False) -> Does:
    """A vector for each text, drawn from its hash."""
    data = [
        {"index": at, "embedding": np.random.default_rng(zlib.crc32(text.encode())).normal(size=size).tolist()}
        for at, text in enumerate(request["input"])
    ]
    usage = {"prompt_tokens": 10, "total_tokens": 10}
    return Does(body=json.dumps({"data": data[::-1] if shuffled else data, "usage": usage}))


def by_endpoint(fake: FakeEndpoint, endpoint: Mapping[str, Any] = {}, **table: Any) -> Any:
    return settings(fake, endpoint, embeddings={"by": "endpoint", "endpoint": {"model": "e"}, "batch": 3, **table})


TEXTS = ["a", "b", "c", "d", "a"]


def test_hashing_is_the_default_and_asks_nothing(answers: Path) -> None:
    embedder = make_embedder(settings(), answers, "diversity")
    assert embedded(embedder, TEXTS, answers).shape == (5, 512) and not (answers.parent / FILE).exists()
    assert requests(embedder, 100) == 0 and embedder.name == "hashing-1:512"
    assert embedded(embedder, [], answers).shape[0] == 0


def test_texts_are_asked_for_once_in_batches_and_kept(fake: FakeEndpoint, answers: Path) -> None:
    fake.answer = lambda request: vectors(request, shuffled=True)
    embedder = make_embedder(by_endpoint(fake), answers, "diversity")
    rows = embedded(embedder, TEXTS, answers)
    assert [request["input"] for request in fake.requests] == [["a", "b", "c"], ["d"]]
    assert {request["model"] for request in fake.requests} == {"e"} and requests(embedder, 4) == 2
    assert np.linalg.norm(rows, axis=1) == pytest.approx(1, abs=1e-6) and (rows[0] == rows[4]).all()
    for row, text in zip(rows, TEXTS, strict=True):  # in the order of the texts, whatever the order of the answer
        expected = np.random.default_rng(zlib.crc32(text.encode())).normal(size=8)
        assert row == pytest.approx(expected / np.linalg.norm(expected), abs=1e-6)
    again = embedded(make_embedder(by_endpoint(fake), answers, "balance"), ["d", "e"], answers)
    assert fake.requests[2]["input"] == ["e"] and (again[0] == rows[3]).all()


def test_an_outage_keeps_what_came_before(fake: FakeEndpoint, answers: Path, quick: None) -> None:
    fake.answer = lambda request: vectors(request) if "a" in request["input"] else Does(status=503)
    with pytest.raises(EndpointError):
        embedded(make_embedder(by_endpoint(fake), answers, "diversity"), TEXTS, answers)
    fake.answer = vectors
    before = len(fake.requests)
    embedded(make_embedder(by_endpoint(fake), answers, "diversity"), TEXTS, answers)
    assert [request["input"] for request in fake.requests[before:]] == [["d"]]


@pytest.mark.parametrize(
    "data",
    [
        [{"index": 0, "embedding": [1.0]}],
        [{"index": 0, "embedding": [1.0]}, {"index": 1, "embedding": [1.0, 2.0]}],
        [{"index": 0, "embedding": [1.0]}, {"index": 1, "embedding": ["x"]}],
        [{"index": 0, "embedding": []}, {"index": 1, "embedding": []}],
        [{"index": 0, "embedding": [float("nan")]}, {"index": 1, "embedding": [1.0]}],
        "none",
    ],
    ids=["too few", "two lengths", "text", "empty", "not a number", "no list"],
)
def test_what_is_no_embedding_is_refused(data: object, fake: FakeEndpoint, answers: Path, quick: None) -> None:
    fake.answer = lambda request: Does(body=json.dumps({"data": data, "usage": {}}))
    with pytest.raises(EndpointError, match="another kind than the one asked for"):
        embedded(make_embedder(by_endpoint(fake), answers, "diversity"), ["a", "b"], answers)
    assert not np.any(embedded(make_embedder(settings(), answers, "diversity"), [""], answers))


def test_the_budget_counts_embeddings(fake: FakeEndpoint, answers: Path) -> None:
    fake.answer = vectors
    priced = {"max_cost": 0.5, "price_in": 20_000.0, "price_out": 1.0}
    embedder = make_embedder(by_endpoint(fake, priced, batch=1), answers, "diversity")
    with pytest.raises(EndpointError, match=r"max_cost: 0\.4"):
        embedded(embedder, ["a", "b", "c", "d"], answers)
    with pytest.raises(EndpointError, match=r"endpoint\.max_calls: all 1 calls"):
        embedded(make_embedder(by_endpoint(fake, {"max_calls": 1}, batch=1), answers, "diversity"), ["x"], answers)


def test_a_model_that_changed_under_its_name_is_told_of(fake: FakeEndpoint, answers: Path) -> None:
    fake.answer = vectors
    embedder = make_embedder(by_endpoint(fake), answers, "diversity")
    embedded(embedder, ["a"], answers)
    fake.answer = lambda request: vectors(request, size=9)
    with pytest.raises(ValueError, match=r"vectors have \[8, 9\] numbers"):
        embedded(embedder, ["a", "b"], answers)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"by": "endpoint"}, r"curate\.embeddings\.endpoint\.model is empty; name the model that the stage diversity"),
        ({"by": "folder"}, r"curate\.embeddings\.path: empty: name a folder"),
        ({"by": "folder", "path": "/no/such"}, r"curate\.embeddings\.path: /no/such: name a folder"),
    ],
)
def test_ways_that_cannot_be_used(table: dict[str, Any], message: str, fake: FakeEndpoint, answers: Path) -> None:
    with pytest.raises(ValueError, match=message):
        make_embedder(settings(fake, embeddings=table), answers, "diversity")


WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "red", "ball", "falls"]


def save_encoder(folder: Path, kind: str) -> None:
    """A text encoder of one layer with drawn weights, saved as transformers does."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizer, CLIPConfig, CLIPModel, T5Config, T5Model

    torch.manual_seed(0)
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    text: dict[str, Any] = {"vocab_size": len(WORDS), "max_position_embeddings": 32, **shape}
    if kind == "bert":
        model: Any = BertModel(BertConfig(**text))
    elif kind == "clip":
        model = CLIPModel(CLIPConfig(text_config=text, vision_config={"image_size": 32, "patch_size": 16, **shape}))
    else:
        model = T5Model(T5Config(vocab_size=len(WORDS), d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2))
    model.save_pretrained(folder)
    (folder / "words.txt").write_text("\n".join(WORDS))
    BertTokenizer(vocab=str(folder / "words.txt")).save_pretrained(folder)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["bert", "clip", "t5"])
def test_an_encoder_from_a_folder_is_the_mean_over_words(kind: str, tmp_path: Path, answers: Path) -> None:
    import torch
    from transformers import AutoTokenizer, BertModel

    folder = tmp_path / kind
    save_encoder(folder, kind)
    table = {"by": "folder", "path": str(folder), "batch": 2}
    embedder = make_embedder(settings(embeddings=table), answers, "diversity")
    texts = ["a red ball falls", "a ball", "red"]
    rows = embedded(embedder, texts, answers)
    assert rows.shape == (3, 16) and np.linalg.norm(rows, axis=1) == pytest.approx(1, abs=1e-5)
    alone = embedder.embed(["a ball"])[0]
    assert rows[1] == pytest.approx(alone / np.linalg.norm(alone), abs=1e-5)  # padding to a longer text adds nothing
    if kind == "bert":
        with torch.inference_mode():
            words = AutoTokenizer.from_pretrained(folder)("a ball", return_tensors="pt")
            expected = BertModel.from_pretrained(folder).eval()(**words).last_hidden_state[0].mean(0).numpy()
        assert alone == pytest.approx(expected, abs=1e-5)
    assert embedder.name.startswith(f"folder:{kind}@") and (answers.parent / FILE).exists()
    assert (embedded(embedder, texts, answers) == rows).all()


def test_a_folder_of_something_else_is_refused(tmp_path: Path, answers: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    embedder = make_embedder(settings(embeddings={"by": "folder", "path": str(tmp_path)}), answers, "diversity")
    with pytest.raises(ValueError, match="not a text encoder that transformers can load"):
        embedded(embedder, ["a"], answers)
