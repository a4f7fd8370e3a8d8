from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Annotated, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from rushes.config.base import SettingsTable
from rushes.config.files import SettingsError, load_settings, settings_hash, to_toml, validate_table
from rushes.config.tables import Settings, TrainSettings

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture
def toml(tmp_path: Path) -> Path:
    path = tmp_path / "rushes.toml"
    path.write_text("")
    return path


def errors(path: Path, *overrides: str) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load_settings(path, overrides)
    return str(caught.value).replace(f"{path}: ", "file: ").splitlines()


def test_empty_file_gives_the_defaults(toml: Path) -> None:
    assert load_settings(toml) == Settings()


def test_file_and_overrides_reach_the_settings(toml: Path) -> None:
    toml.write_text('[train]\nlr = 1\noptions = {beta = 500, n = 2}\n[footage]\nscenes = ["fall", "bounce"]\n')
    overrides = ("train.steps=7", "train.options.beta=5e3", "train.recipe=my.own.recipe", "generate.eta=[0.5, 1]")
    settings = load_settings(toml, (*overrides, "train.name = 'a=b'", "train.name=a"))
    assert settings.train.lr == 1.0 and isinstance(settings.train.lr, float)
    assert settings.train.steps == 7
    assert settings.train.options == {"beta": 5000.0, "n": 2}
    assert settings.train.recipe == "my.own.recipe"
    assert settings.train.name == "a"
    assert settings.generate.eta == (0.5, 1.0)
    assert settings.footage.scenes == ("fall", "bounce")


def test_times_are_read_from_where_they_were_and_that_is_said(toml: Path, caplog: pytest.LogCaptureFixture) -> None:
    toml.write_text('[train]\nrecipe = "realdpo"\noptions = {beta = 500.0, times = "logit_normal", t_high = 0.5}\n')
    train = load_settings(toml, ["train.options.t_low=0.1"]).train
    assert (train.times, train.t_low, train.t_high, train.options) == ("logit_normal", 0.1, 0.5, {"beta": 500.0})
    assert f"{toml}: train.options.t_high is now train.t_high, for every recipe" in caplog.text
    assert len(caplog.records) == 3
    assert errors(toml, "train.t_high=0.7") == [
        "file: train.options.t_high is now train.t_high, for every recipe; set that one and take the old one out"
    ]
    toml.write_text('[train]\nrecipe = "my.own"\noptions = {times = "mine"}\n')  # which may have what it likes
    assert load_settings(toml).train.options == {"times": "mine"}


def test_every_error_is_named_on_its_own_line(toml: Path) -> None:
    toml.write_text(
        """
        stepz = 5
        trian = {lr = 1.0}
        [project]
        sed = 1
        [footage]
        kind = "folder"
        [generate]
        eta = [0.9, 0.5]
        [train]
        lr = -1
        rank = "many"
        decay = "linar"
        """
    )
    assert errors(toml, "evaluate.seeds=true", "report=4", "nonsense", "train..lr=1") == [
        "override: expected KEY=VALUE with a dotted key (got 'nonsense')",
        "override: expected KEY=VALUE with a dotted key (got 'train..lr=1')",
        "file: project.sed: unknown setting (got 1); did you mean: seed",
        "file: footage.path: footage of kind 'folder' needs the path of the folder (got '')",
        "file: generate.eta: the lowest noise level must be below the highest (got [0.9, 0.5])",
        "file: train.lr: Input should be greater than 0 (got -1)",
        "file: train.decay: Input should be 'linear' or 'none' (got 'linar')",
        "file: train.rank: Input should be a valid integer (got 'many')",
        "override: evaluate.seeds: Input should be a valid integer (got True)",
        "override: report: expected a table (got 4)",
        "file: stepz: unknown setting (got 5)",
        "file: trian: unknown setting; did you mean: train",
    ]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.lr=nan", "train.lr: Input should be a finite number (got nan)"),
        ("report.max_mb=inf", "report.max_mb: Input should be a finite number (got inf)"),
        ("train.name=../up", "train.name: String should match pattern"),
        ("generate.eta=[0.0, 0.5]", "generate.eta.0: Input should be greater than 0 (got 0.0)"),
        ("generate.eta=[0.5]", "generate.eta.1: Field required"),
        ("project.name.first=a", "project.name: Input should be a valid string"),
        ("generate.takes=0", "generate.takes: Input should be greater than or equal to 1 (got 0)"),
        ("train.deterministic=1", "train.deterministic: Input should be a valid boolean (got 1)"),
        ("project.seed=1\nlr=2", "project.seed: Input should be a valid integer (got '1\\nlr=2')"),
    ],
)
def test_bad_value_is_refused(toml: Path, override: str, message: str) -> None:
    (line,) = errors(toml, override)
    assert line.startswith(f"override: {message}")


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"[train", "not a TOML file: "), (b"\xff\xfe", "not a TOML file: "), (None, "cannot be read (No such file")],
)
def test_unreadable_file_is_refused(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "rushes.toml"
    if content is not None:
        path.write_bytes(content)
    (line,) = errors(path)
    assert line.startswith(f"file: {message}")


def test_relative_folders_start_where_they_were_written(toml: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = toml.parent / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    toml.write_text('[footage]\nkind = "folder"\npath = "../clips"\n[backbone]\npath = "/weights"\n')
    settings = load_settings(toml)
    assert settings.footage.path == str(toml.parent.parent / "clips")
    assert settings.backbone.path == "/weights"
    assert load_settings(toml, ("footage.path=clips",)).footage.path == str(elsewhere / "clips")


class Lora(SettingsTable):
    kind: Literal["lora"] = "lora"
    rank: int = 4


class Full(SettingsTable):
    kind: Literal["full"] = "full"
    ema: int | str = 1


class Options(SettingsTable):
    tune: Annotated[Lora | Full, Field(discriminator="kind")] = Lora()
    levels: tuple[Lora | Full, ...] = Field((), strict=False)
    beta: float


def test_recipe_options_are_validated_by_their_own_model() -> None:
    assert validate_table(Options, {"beta": 5}, "train.options") == Options(beta=5.0)


def test_recipe_errors_have_the_users_path_without_union_tags() -> None:
    bad = {
        "tune": {"kind": "full", "ema": [], "emma": 1},
        "levels": [{"kind": "lora", "rank": "x"}],
        "bta": 3,
    }
    with pytest.raises(SettingsError) as caught:
        validate_table(Options, bad, "train.options")
    lines = str(caught.value).splitlines()
    assert "train.options.tune.ema: Input should be a valid integer (got [])" in lines
    assert "train.options.tune.emma: unknown setting (got 1); did you mean: ema" in lines
    assert "train.options.levels.0.rank: Input should be a valid integer (got 'x')" in lines
    assert "train.options.beta: Field required" in lines
    assert "train.options.bta: unknown setting (got 3); did you mean: beta" in lines


def test_written_settings_read_back_the_same(toml: Path) -> None:
    options = {"beta": 500.0, "levels": [1, 2], "odd key": {"a": True, 'b"': "x\x7f\n\\"}}
    settings = Settings(train=TrainSettings(name="one", lr=3e-7, options=options))
    toml.write_text(to_toml(settings), encoding="utf-8")
    assert load_settings(toml) == settings


@given(
    st.dictionaries(
        st.text(), st.text() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    )
)
def test_any_options_survive_the_toml(options: dict[str, object]) -> None:
    assert tomllib.loads(to_toml(Settings(train=TrainSettings(options=options))))["train"]["options"] == options


def test_written_settings_explain_every_setting() -> None:
    lines = to_toml(Settings()).splitlines()
    for number, line in enumerate(lines):
        if line and not line.startswith("#"):
            assert len(lines[number - 1]) > len("# ...") and lines[number - 1].startswith("# "), line
    assert max(map(len, lines)) <= 120


def test_hash_follows_the_values() -> None:
    assert settings_hash(TrainSettings(lr=1e-5)) == settings_hash(TrainSettings())
    assert settings_hash(TrainSettings(lr=2e-5)) != settings_hash(TrainSettings())
    assert settings_hash(TrainSettings(options={"a": 1, "b": 2})) == settings_hash(
        TrainSettings(options={"b": 2, "a": 1})
    )


def test_settings_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings().train.lr = 1.0  # type: ignore[misc]


def test_settings_page_is_current() -> None:
    subprocess.run([sys.executable, REPOSITORY / "scripts" / "docs", "--check"], check=True)


@pytest.mark.parametrize("path", sorted((REPOSITORY / "examples").glob("*.toml")), ids=lambda path: path.name)
def test_shipped_settings_load(path: Path) -> None:
    load_settings(path)
