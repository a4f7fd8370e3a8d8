from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rushes.files import MediaError
from rushes.media.images import read_image, write_image

NOISE = np.random.default_rng(0).integers(0, 256, (9, 13, 3), np.uint8)


def test_png_comes_back_exactly(tmp_path: Path) -> None:
    write_image(tmp_path / "a b ü.png", NOISE)
    write_image(tmp_path / "strided.png", NOISE[:, ::-1])
    assert np.array_equal(read_image(tmp_path / "a b ü.png"), NOISE)
    assert np.array_equal(read_image(tmp_path / "strided.png"), NOISE[:, ::-1])


def test_real_first_frame_is_that_of_its_clip(real_data: Path) -> None:
    image = read_image(real_data / "realaction" / "train" / "first_frames" / "videos_4873105.png")
    assert image.shape == (480, 720, 3)


def test_what_is_no_image(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    with pytest.raises(MediaError, match=r"a\.png: cannot be read \(No such file"):
        read_image(path)
    path.touch()
    with pytest.raises(MediaError, match=r"empty \(0 bytes\)"):
        read_image(path)
    path.write_text("no image")
    with pytest.raises(MediaError, match="not an image, or a damaged one; give a png"):
        read_image(path)


def test_what_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"name the file with \.png"):
        write_image(tmp_path / "a.jpg", NOISE)
    for wrong in (NOISE.astype(float), NOISE[..., 0], NOISE[:0]):
        with pytest.raises(ValueError, match=r"must be \[H,W,3\] uint8"):
            write_image(tmp_path / "a.png", wrong)
    assert not list(tmp_path.iterdir())
