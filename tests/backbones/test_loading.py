from __future__ import annotations

import re
from pathlib import Path

import pytest

from rushes import plugins
from rushes.backbones.loading import load_backbone
from rushes.backbones.table import backbone_names, backbone_table

OWN = "from rushes.backbones.tiny import TinyBackbone, TinyConfig\n{load}\n"


def test_backbones_are_modules_that_load() -> None:
    modules = {name: plugins.load("module", name, "backbones", ()) for name in plugins.modules_of("backbones")}
    loaders = {name for name, m in modules.items() if getattr(getattr(m, "load", None), "__module__", "") == m.__name__}
    assert backbone_names() == sorted(loaders | {name for name, m in modules.items() if hasattr(m, "FAMILY")})


@pytest.mark.parametrize("name", ["wann", "no.such.module", "rushes.backbones.none", "./model.py"])
def test_an_unknown_backbone_is_named_with_those_there_are(name: str) -> None:
    expected = re.escape(f"no backbone {name!r}: there are ") + ".*tiny.*, or give a module's dotted path"
    with pytest.raises(ValueError, match=expected):
        load_backbone(name)


def test_a_backbone_from_outside_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine_two").mkdir()
    load = "def load(path): return TinyBackbone(TinyConfig(channels=int(path)))"
    (tmp_path / "mine_two" / "model.py").write_text(OWN.format(load=load))
    (tmp_path / "mine_two" / "half.py").write_text(OWN.format(load=""))
    (tmp_path / "mine_two" / "broken.py").write_text("import no_such_library")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert load_backbone("mine_two.model", "3").spec.channels == 3
    with pytest.raises(ValueError, match=r"module mine_two\.half is not a backbone: it lacks load"):
        load_backbone("mine_two.half")
    with pytest.raises(ModuleNotFoundError, match="no_such_library"):
        load_backbone("mine_two.broken")


def test_the_table_says_what_each_backbone_is() -> None:
    rows = backbone_table()
    assert [row.name for row in rows] == backbone_names()
    for row in rows:
        assert "text" in row.modes and set(row.modes) <= {"text", "first_frame"}
        assert row.path in ("flow", "v", "noise") and min(row.temporal_ratio, row.spatial_ratio, row.fps) > 0
