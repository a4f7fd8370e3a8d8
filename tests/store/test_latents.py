"""Latents in safetensors shards."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from rushes.store import latents as module
from rushes.store.latents import LatentKey, LatentStore, latent_fingerprint

FINGERPRINT = latent_fingerprint("tiny", "abc", 64, 48, 17, 8.0, "centre crop")


def noise(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def shards(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


def test_the_fingerprint_tells_every_setting_apart() -> None:
    variants = [
        latent_fingerprint("tiny", "abc", 64, 48, 17, 8.0, "centre crop"),
        latent_fingerprint("other", "abc", 64, 48, 17, 8.0, "centre crop"),
        latent_fingerprint("tiny", "abd", 64, 48, 17, 8.0, "centre crop"),
        latent_fingerprint("tiny", "abc", 48, 64, 17, 8.0, "centre crop"),
        latent_fingerprint("tiny", "abc", 64, 48, 9, 8.0, "centre crop"),
        latent_fingerprint("tiny", "abc", 64, 48, 17, 8.5, "centre crop"),
        latent_fingerprint("tiny", "abc", 64, 48, 17, 8.0, "stretch"),
    ]
    assert len(set(variants)) == len(variants)
    assert latent_fingerprint("tiny", "abc", 64, 48, 17, 8, "centre crop") == variants[0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_what_is_put_is_got_by_a_later_process(tmp_path: Path, dtype: torch.dtype) -> None:
    made = {f"{number}/é": noise(4, 3, 2, number + 1, seed=number, dtype=dtype) for number in range(5)}
    first = LatentStore(tmp_path, FINGERPRINT)
    assert first.put(made) == 5
    for store in (first, LatentStore(tmp_path, FINGERPRINT)):
        assert set(store) == set(made) and len(store) == 5
        for key, latent in made.items():
            got = store.get(key)
            assert got is not None and got.dtype == dtype and torch.equal(got, latent)
        assert store.get("none") is None and "none" not in store and "0/é" in store
        assert store.verify() == ()


@pytest.mark.parametrize("strides", [(1, 96, 96, 96), (96, 1, 1, 1), (7, 7, 7, 7)])
def test_a_latent_with_one_position_is_stored_whatever_its_strides(tmp_path: Path, strides: tuple[int, ...]) -> None:
    """As a codec with large patches encodes a small clip: torch calls it contiguous, and its last stride is not 1."""
    for channels in (1, 5):
        latent = torch.empty_strided((channels, 1, 1, 1), strides).copy_(noise(channels, 1, 1, 1))
        store = LatentStore(tmp_path / str(channels), FINGERPRINT)
        store.put({"a": latent})
        stored = store.get("a")
        assert stored is not None and torch.equal(stored, latent) and store.verify() == ()


def test_a_key_is_written_once(tmp_path: Path) -> None:
    store = LatentStore(tmp_path, FINGERPRINT)
    assert store.put({"a": noise(1, 1, 2, 2)}) == 1
    assert store.put({"a": noise(1, 1, 2, 2, seed=9), "b": noise(1, 1, 2, 2)}) == 1
    assert store.put({"a": noise(1, 1, 2, 2)}) == store.put({}) == 0
    assert torch.equal(store.get("a"), noise(1, 1, 2, 2))  # type: ignore[arg-type]
    assert len(shards(tmp_path)) == 2


def test_fingerprints_share_a_folder_and_never_mix(tmp_path: Path) -> None:
    LatentStore(tmp_path, FINGERPRINT).put({"a": noise(1, 1, 2, 2)})
    other = LatentStore(tmp_path, "b" * 24)
    assert other.get("a") is None
    other.put({"a": noise(1, 1, 2, 2, seed=1)})
    assert torch.equal(LatentStore(tmp_path, FINGERPRINT).get("a"), noise(1, 1, 2, 2))  # type: ignore[arg-type]


def test_shards_stay_below_their_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SHARD_BYTES", 3 * 400)
    made = {str(number): noise(1, 1, 10, 10, seed=number) for number in range(7)} | {"big": noise(1, 1, 40, 40)}
    LatentStore(tmp_path, FINGERPRINT).put(made)
    assert sorted(len(load_file(path)) for path in shards(tmp_path)) == [1, 1, 3, 3]
    assert set(LatentStore(tmp_path, FINGERPRINT)) == set(made)


def test_views_with_gradients_are_stored_as_values(tmp_path: Path) -> None:
    whole = noise(2, 4, 3, 6).requires_grad_()
    store = LatentStore(tmp_path, FINGERPRINT)
    store.put({"one": whole[:, :2], "two": whole[:, 2:].transpose(2, 3)})
    assert torch.equal(store.get("two"), whole[:, 2:].transpose(2, 3).detach())  # type: ignore[arg-type]
    assert store.verify() == ()


@pytest.mark.parametrize(
    ("latent", "reason"),
    [
        (torch.zeros(1, 4, 3, 2, 2), r"expected floating-point \[C, F, H, W\], got torch.float32 \[1, 4, 3, 2, 2\]"),
        (torch.zeros(4, 3, 2, 2, dtype=torch.uint8), "torch.uint8"),
        (torch.zeros(4, 0, 2, 2), "expected"),
        (torch.full((1, 1, 1, 1), float("nan")), "NaN or infinity"),
    ],
)
def test_what_is_no_latent_is_refused_before_anything_is_written(
    tmp_path: Path, latent: torch.Tensor, reason: str
) -> None:
    with pytest.raises(ValueError, match=f"latent of 'bad': .*{reason}"):
        LatentStore(tmp_path, FINGERPRINT).put({"good": noise(1, 1, 2, 2), "bad": latent})
    assert shards(tmp_path) == []


@pytest.mark.parametrize("kept", [0, 5, 100, -1])
def test_a_torn_shard_is_passed_over_and_deleted_when_it_is_made_again(
    tmp_path: Path, kept: int, caplog: pytest.LogCaptureFixture
) -> None:
    LatentStore(tmp_path, FINGERPRINT).put({"a": noise(4, 3, 8, 8)})
    (path,) = shards(tmp_path)
    path.write_bytes(path.read_bytes()[:kept])
    store = LatentStore(tmp_path, FINGERPRINT)
    assert "a" not in store and f"{path.name}: incomplete" in store.verify()[0] and path.exists()
    LatentStore(tmp_path, "b" * 24).mend()  # which leaves others alone
    assert path.exists()
    store.mend()
    assert not path.exists() and f"{path.name}: was damaged" in caplog.text
    assert store.put({"a": noise(4, 3, 8, 8)}) == 1 and store.verify() == ()


def test_an_altered_entry_is_not_got_and_its_shard_is_made_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    latents = {key: noise(4, 3, 8, 8, seed=seed) for seed, key in enumerate("ab")}
    LatentStore(tmp_path, FINGERPRINT).put(latents)
    (path,) = shards(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-7] + bytes([whole[-7] ^ 1]) + whole[-6:])
    store = LatentStore(tmp_path, FINGERPRINT)
    right, altered = ("b", "a") if torch.equal(load_file(path)["b"], latents["b"]) else ("a", "b")
    assert torch.equal(store.get(right), latents[right])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=f"{path.name}: the entry for '{altered}' was altered; run the same command"):
        store.get(altered)
    assert store.mend([right]) == 0 and path.exists()
    assert store.mend(latents) == 2 and not path.exists() and len(store) == 0
    assert caplog.text.count("was damaged and has been deleted") == 1
    assert store.put(latents) == 2 and shards(tmp_path) == [path]
    assert LatentStore(tmp_path, FINGERPRINT).verify() == ()


def test_what_another_process_deleted_is_not_listed(tmp_path: Path) -> None:
    store, other = (LatentStore(tmp_path, FINGERPRINT) for _ in range(2))
    store.put({"a": noise(1, 1, 2, 2)})
    other.look_again()
    assert "a" in other
    shards(tmp_path)[0].unlink()
    other.look_again()
    assert "a" not in other and other.put({"a": noise(1, 1, 2, 2)}) == 1


def test_a_passing_fault_of_the_machine_deletes_nothing(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    LatentStore(tmp_path, FINGERPRINT).put({"a": noise(4, 3, 8, 8)})
    store = LatentStore(tmp_path, FINGERPRINT)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, before[1]))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            store.mend(["a"])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert len(shards(tmp_path)) == 1 and store.mend(["a"]) == 0 and "a" in store


@pytest.mark.parametrize("look", [True, False])
def test_a_torn_shard_that_another_process_wrote_again_stays(tmp_path: Path, look: bool) -> None:
    LatentStore(tmp_path, FINGERPRINT).put({"a": noise(4, 3, 8, 8)})
    (path,) = shards(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[:100])
    store = LatentStore(tmp_path, FINGERPRINT)
    path.write_bytes(whole)
    if look:
        store.look_again()
        assert "a" in store and store.verify() == ()
    assert store.mend() == 0 and path.exists() and "a" in store and store.verify() == ()


def test_an_altered_shard_that_another_process_wrote_again_stays(tmp_path: Path) -> None:
    latents = {"a": noise(4, 3, 8, 8)}
    LatentStore(tmp_path, FINGERPRINT).put(latents)
    (path,) = shards(tmp_path)
    store = LatentStore(tmp_path, FINGERPRINT)
    save_file({"a": noise(4, 3, 8, 8, seed=1)}, path, {"fingerprint": FINGERPRINT, "sha256": '{"a": ""}'})
    assert store.mend(latents) == 1 and not path.exists()
    LatentStore(tmp_path, FINGERPRINT).put(latents)
    store = LatentStore(tmp_path, FINGERPRINT)
    store._checksum_of["a"] = "0" * 64  # as a header that was read of the shard before
    assert store.mend(latents) == 0 and path.exists()
    assert torch.equal(store.get("a"), latents["a"])  # type: ignore[arg-type]


def test_foreign_files_are_refused(tmp_path: Path) -> None:
    save_file({"a": noise(1, 1, 2, 2)}, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=r"model.safetensors: not written by Rushes; move it"):
        LatentStore(tmp_path, FINGERPRINT)
    (tmp_path / "model.safetensors").rename(tmp_path / f"{FINGERPRINT}-{'0' * 24}.safetensors")
    with pytest.raises(ValueError, match="do not match its name"):
        LatentStore(tmp_path, FINGERPRINT)


def test_a_shard_renamed_to_another_fingerprint_is_refused(tmp_path: Path) -> None:
    LatentStore(tmp_path, FINGERPRINT).put({"a": noise(1, 1, 2, 2)})
    (path,) = shards(tmp_path)
    shutil.copy(path, tmp_path / path.name.replace(FINGERPRINT, "b" * 24))
    with pytest.raises(ValueError, match="do not match its name"):
        LatentStore(tmp_path, "b" * 24)


def test_verify_finds_one_altered_byte_and_a_shard_that_vanished(tmp_path: Path) -> None:
    store = LatentStore(tmp_path, FINGERPRINT)
    for key in "abc":
        store.put({key: noise(4, 3, 8, 8)})
    altered, gone, _ = shards(tmp_path)
    data = bytearray(altered.read_bytes())
    data[-7] ^= 1
    altered.write_bytes(data)
    gone.unlink()
    problems = LatentStore(tmp_path, FINGERPRINT).verify()
    assert len(problems) == 1 and "was altered" in problems[0] and altered.name in problems[0]
    problems = store.verify()
    assert len(problems) == 2 and gone.name in problems[1]


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="/proc is of Linux")
def test_a_latent_does_not_hang_on_its_file(tmp_path: Path) -> None:
    store = LatentStore(tmp_path, FINGERPRINT)
    store.put({"a": noise(4, 8, 32, 32)})
    got = store.get("a")
    assert got is not None and shards(tmp_path)[0].name not in Path("/proc/self/maps").read_text()


def test_what_a_killed_process_left_is_not_read(tmp_path: Path) -> None:
    (tmp_path / f".{FINGERPRINT}-{'0' * 24}.safetensors.1234.part").write_bytes(b"half")
    assert len(LatentStore(tmp_path, FINGERPRINT)) == 0


def test_a_full_disk_is_said_plainly(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    store = LatentStore(tmp_path, FINGERPRINT)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    try:
        with pytest.raises(OSError, match="free some disk space"):
            store.put({"a": noise(4, 8, 32, 32)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert shards(tmp_path) == [] and "a" not in store
    assert store.put({"a": noise(4, 8, 32, 32)}) == 1


def test_real_latents_keep_their_bits(tmp_path: Path, real_data: Path) -> None:
    paths = sorted((real_data / "realaction" / "train" / "latents").rglob("*videos_4873105*/*.safetensors"))
    made = {str(path.relative_to(real_data)): load_file(path)["encoded_video"] for path in paths}
    assert len(made) == 3
    store = LatentStore(tmp_path, FINGERPRINT)
    store.put(made)
    for key, latent in made.items():
        got = store.get(key)
        assert got is not None and got.dtype == torch.bfloat16 and torch.equal(got, latent)
    assert list(latent.shape) == [16, 13, 60, 90]


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("abc", LatentKey("abc")),
        ("abc|flow:def", LatentKey("abc", "flow:def")),
        ("abc/first", LatentKey("abc", first=True)),
        ("abc/first/start", LatentKey("abc", first=True, part="start")),
        ("abc|reverse/first/start", LatentKey("abc", "reverse", True, "start")),
    ],
)
def test_a_key_is_the_name_that_shards_have_had_all_along(name: str, key: LatentKey) -> None:
    assert str(key) == name and LatentKey.read(name) == key
