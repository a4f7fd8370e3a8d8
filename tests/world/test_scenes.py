from __future__ import annotations

import numpy as np
import pytest

from rushes.world.plants import LASTS, LAWS, LOSS, corpus_scenes, losing_dots, one_fault, plant
from rushes.world.render import render
from rushes.world.scenes import BLOCK, CAPTIONS, KINDS, draw_scenes, read_wording, wrong_captions


def test_a_seed_gives_the_same_clips() -> None:
    first, again, other = draw_scenes(3, 20), draw_scenes(3, 20), draw_scenes(4, 20)
    assert all(
        np.array_equal(a.centres_FKD, b.centres_FKD) and a.caption == b.caption
        for a, b in zip(first, again, strict=True)
    )
    assert not np.array_equal(first[0].centres_FKD, other[0].centres_FKD)
    assert [scene.wording.kind for scene in first] == list(KINDS) * 4


def test_captions_read_back_and_wrong_ones_differ_in_one_respect() -> None:
    for caption, wording in CAPTIONS.items():
        assert read_wording(caption) == wording and wording.text == caption
    wrong = wrong_captions("a ball comes from the left and hits a light ball, slowly")
    assert sorted(wrong) == [
        "a ball comes from the left and hits a heavy ball, slowly",
        "a ball comes from the left and hits a light ball, quickly",
        "a ball comes from the right and hits a light ball, slowly",
    ]
    assert wrong_captions("a ball drops and bounces") == []
    assert wrong_captions("a ball drops and bounces", slow=True) == ["a ball drops and bounces, quickly"]
    assert wrong_captions("a ball drops and bounces, slowly", slow=False) == ["a ball drops and bounces, quickly"]
    with pytest.raises(ValueError, match="not one of the embedded world's"):
        read_wording("a cat sits")


def test_the_first_frame_shows_neither_side_nor_tempo() -> None:
    """What is drawn at the start is alike for both sides and for slow and quick clips."""
    for kind in ("throw", "roll"):
        scenes = draw_scenes(5, 600, [kind])
        x = np.array([scene.centres_FKD[0, 0, 0] for scene in scenes])
        right = np.array([scene.wording.side == "right" for scene in scenes])
        assert abs(x[right].mean() - x[~right].mean()) < 2.0
        assert abs(np.corrcoef(x, [scene.tempo for scene in scenes])[0, 1]) < 0.15


def test_dots_are_lost_for_half_seconds_at_a_rate_that_grows_with_tempo() -> None:
    rng = np.random.default_rng(0)
    scenes = [losing_dots(scene, rng) for scene in draw_scenes(1, 500)]
    lost = np.array([1 - scene.dots_FKP[1:].mean() for scene in scenes])
    tempo = np.array([scene.tempo for scene in scenes])
    slope = float((lost @ tempo) / (tempo @ tempo))
    assert slope == pytest.approx(LOSS, rel=0.05)
    for scene in scenes[:20]:
        assert (scene.dots_FKP[0] == 1).all()
        halves = scene.dots_FKP[1:].reshape(-1, BLOCK, *scene.dots_FKP.shape[1:])
        assert (halves == halves[:, :1]).all()


def test_faults_are_large_enough_to_see() -> None:
    for law, (_, kinds) in LAWS.items():
        for kind in kinds:
            for sound, broken in plant(law, kind, 2, 6):
                assert sound.caption == broken.caption
                if law == "permanence":
                    assert (broken.opacity_FK == 0).any(1).sum() >= BLOCK
                else:
                    off = np.linalg.norm(sound.centres_FKD - broken.centres_FKD, axis=-1).max(1)
                    assert off.max() >= 6.0 and (off > 1.0).sum() >= LASTS
    with pytest.raises(ValueError, match="no fault 'period' of clips 'drop'"):
        plant("period", "drop", 0, 1)


def test_one_fault_is_drawn_among_those_of_a_kind() -> None:
    drawn = [one_fault("swing", [7, at]) for at in range(30)]
    assert {law for *_, law in drawn} == {"period", "permanence", "continuity", "dots"}
    for sound, broken, _ in drawn:
        assert sound.caption == broken.caption
        assert not np.array_equal(render(sound), render(broken))


def test_the_corpus_has_its_share_of_broken_laws() -> None:
    scenes = corpus_scenes(0, 400)
    gone = np.mean([(scene.opacity_FK == 0).any() for scene in scenes])
    assert len(scenes) == 400 and 0.02 < gone < 0.08
