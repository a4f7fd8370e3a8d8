from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from rushes.config.tables import TrainSettings
from rushes.noise.draws import seeded
from rushes.training.batches import Batch, NoiseSampler, make_batch
from rushes.training.comparison import Comparison
from rushes.training.history import read_history
from rushes.training.loop import train
from rushes.training.reference import Reference
from rushes.training.unconditional import COMPARISONS, DRAWS, UnconditionalProbe, asked_under

from .conftest import DataIn, Small


@pytest.mark.parametrize("negative", ["", "a blurry picture that stands still"])
def test_drifts_are_those_of_predictions_under_captions_and_under_the_negative_prompt(
    negative: str, tmp_path: Path, small: Small, data_in: DataIn
) -> None:
    backbone, data, asked = small(), data_in(tmp_path, pairs=14, held_out=10), list[int]()
    reference = Reference(backbone.network)
    several = [replace(c, captions=(c.views[0].caption, "other words")) for c in data.held_out]
    probe = UnconditionalProbe(backbone, reference, asked_under(negative, several))

    def make(chosen: Sequence[tuple[Comparison, int]]) -> Batch:
        asked.append(len(chosen))
        return make_batch(chosen, data.latents, backbone, NoiseSampler(0, data.times))

    assert probe.figures(make) == {"conditional_drift": 0.0, "unconditional_drift": 0.0}
    assert len(asked) == 4 * COMPARISONS * DRAWS
    assert len({c.group for (c, _), _ in probe.chosen}) == COMPARISONS
    with torch.no_grad():
        for p in backbone.network.parameters():
            p.add_(0.01 * torch.randn(p.shape, generator=seeded("moved", p.shape)))
    asked.clear()
    figures = probe.figures(make)
    assert len(asked) == 2 * COMPARISONS * DRAWS  # the reference's predictions are kept
    for name, away in (("conditional_drift", False), ("unconditional_drift", True)):
        seen = [(c, visit, c.views[0]) for (c, _), visit in probe.chosen]
        drawn = [NoiseSampler(0, data.times).of(c, visit, (1, 1, 1, 1)).caption(v) for c, visit, v in seen]
        views = [replace(v, caption=negative if away else at) for (*_, v), at in zip(seen, drawn, strict=True)]
        bare = [(replace(c, views=(v, v), captions=()), at) for (c, at, _), v in zip(seen, views, strict=True)]
        batch = make_batch(bare, data.latents, backbone, NoiseSampler(0, data.times))
        x = backbone.spec.path.mix(batch.clean_RCFHW, batch.noise_RCFHW, batch.t_RF)
        with torch.no_grad():
            ours = backbone.predict(x, batch.t_RF, batch.condition)
        with reference.applied():
            theirs = backbone.predict(x, batch.t_RF, batch.condition)
        assert figures[name] == pytest.approx(float(((ours - theirs) ** 2).mean()), rel=1e-4) and figures[name] > 1e-6
    assert figures["conditional_drift"] != pytest.approx(figures["unconditional_drift"], rel=1e-3)


def test_rows_have_both_and_training_is_as_without_them(tmp_path: Path, small: Small, data_in: DataIn) -> None:
    data = replace(data_in(tmp_path, held_out=2), negative_prompt="a blurry picture")
    settings = TrainSettings(batch=2, learning_rate=1e-3, steps=4, checkpoint_every=2, reference="ema")
    train(small(), data, settings, tmp_path / "run", seed=0, identity="")
    rows = read_history(tmp_path / "run" / "metrics.jsonl")
    figures = [row["held_out/unconditional_drift"] for row in rows if "held_out/unconditional_drift" in row]
    assert len(figures) == 3 and figures[0] == 0.0 and figures[2] > 0
    same = [replace(c, views=tuple(replace(v, caption="a blurry picture") for v in c.views)) for c in data.held_out]
    without = {"same": replace(data, held_out=same), "no guidance": replace(data, negative_prompt=None)}
    for name, other in without.items():
        train(small(), other, settings, tmp_path / name, seed=0, identity="")
        bare = read_history(tmp_path / name / "metrics.jsonl")
        assert not any("unconditional_drift" in key for row in bare for key in row)
        assert [row["loss"] for row in bare[1:]] == [row["loss"] for row in rows[1:]]
