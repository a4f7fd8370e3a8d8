"""Which judge the settings name, and what they say where they name none."""

from __future__ import annotations

from pathlib import Path

import pytest

from rushes.config.endpoint import EndpointSettings
from rushes.config.tables import LabelSettings, Settings
from rushes.judges.build import ANSWERS, judge_of


def settings(**label: object) -> Settings:
    return Settings(label=LabelSettings.model_validate(label), endpoint=EndpointSettings(model="m"))


@pytest.mark.parametrize(
    ("label", "name"),
    [({"by": "world"}, "world"), ({"by": "metric", "metric": "flicker"}, "metric:flicker"), ({"by": "vlm"}, "vlm:m:")],
)
def test_each_word_names_its_judge(label: dict[str, object], name: str, tmp_path: Path) -> None:
    with judge_of(settings(**label), tmp_path) as judge:
        assert judge.name.startswith(name)
    assert (tmp_path / ANSWERS).exists() == (label["by"] == "vlm")


@pytest.mark.parametrize(("by", "cause"), [("none", "nobody is named"), ("human", "a page of their own")])
def test_nobody_and_people_are_no_judge(by: str, cause: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=cause), judge_of(settings(by=by), tmp_path):
        pass
