from __future__ import annotations

from pathlib import Path

from rushes.curate.summary import SetSize
from rushes.project.curation import _set
from rushes.records import Clip, Decision, stable_hash
from rushes.store.database import Store


def test_the_digest_of_a_set_is_that_of_all_its_rows_in_order(tmp_path: Path) -> None:
    with Store.create(tmp_path) as store:
        assert _set(store) == SetSize(train=0, eval=0, seconds=0.0, digest=stable_hash([], 64))
        captions = ("zwei", 'é "quoted"\n', "a", "dropped")
        store.add(
            Clip(str(at), f"{9 - at}" * 64, caption, 32, 32, 12, 8.0, "x.mp4", "eval" if at == 1 else "train")
            for at, caption in enumerate(captions)
        )
        store.add([Decision("d1", "3", False), Decision("d2", "2", True, caption="dense")])
        rows = sorted([clip.media, clip.caption, clip.split] for clip in store.clips())
        assert list(store.stream_set()) == list(store.clips()) and len(rows) == 3
        assert _set(store) == SetSize(train=2, eval=1, seconds=4.5, digest=stable_hash(rows, 64))
