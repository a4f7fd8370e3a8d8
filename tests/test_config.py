from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

import rushes
from rushes.config.base import SettingsTable
from rushes.config.renamed import MOVED, NAMES, UNTIL, VALUES, with_first_names
from rushes.config.settings_files import SettingsError, flat, load_settings, settings_hash, to_toml, validate_table
from rushes.config.tables import Settings, TrainSettings

from .forked import SCRIPT, start

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
    toml.write_text(
        '[train]\nlearning_rate = 1\noptions = {beta = 500, n = 2}\n[footage]\nscenes = ["fall", "bounce"]\n'
    )
    overrides = ("train.steps=7", "train.options.beta=5e3", "train.recipe=my.own.recipe", "generate.eta=[0.5, 1]")
    settings = load_settings(toml, (*overrides, "train.name = 'a=b'", "train.name=a"))
    assert settings.train.learning_rate == 1.0 and isinstance(settings.train.learning_rate, float)
    assert settings.train.steps == 7
    assert settings.train.options == {"beta": 5000.0, "n": 2}
    assert settings.train.recipe == "my.own.recipe"
    assert settings.train.name == "a"
    assert settings.generate.eta == (0.5, 1.0)
    assert settings.footage.scenes == ("fall", "bounce")


OLD = """
[backbone]
checkpointing = false
[generate]
guidance = 5.0
guidance_2 = 3.0
negative = "blurred"
match = 0.38
[train]
recipe = "realdpo"
start = "first"
lr = 2e-5
warmup = 3
decay = "none"
clip_norm = 0.5
tune = "lora"
rank = 8
alpha = 4.0
ema = 0.9
ema_every = 7
bank = 2
leak = 0
[train.objective]
link = "logistic"
winner_clamp = 50.0
safe_loser = true
safe_share = 0.8
[train.options]
beta = 500.0
times = "logit_normal"
t_high = 0.5
"""

DIGESTS = [
    "8b366e1b8e4863a7f50905b5",
    "53be5b56d3c967167c6bd11d",
    "5ee0df60f54c6bd097688ca3",
    "dce76a0c6a17c4d8f2adf829",
]


def test_a_file_with_the_former_names_is_read_and_one_warning_says_so(
    toml: Path, caplog: pytest.LogCaptureFixture
) -> None:
    toml.write_text(OLD)
    settings = load_settings(toml)
    train, objective, ask = settings.train, settings.train.objective, settings.generate
    assert (train.init_from, train.learning_rate, train.warmup_steps, train.lr_scheduler) == (
        "first",
        2e-5,
        3,
        "constant",
    )
    assert (train.max_grad_norm, train.trainable, train.lora_rank, train.lora_alpha) == (0.5, "lora", 8, 4.0)
    assert (train.reference_ema, train.reference_sync_steps) == (0.9, 7)
    assert (train.reference_cache, train.shortcut_probe) == (2, 0)
    assert (objective.loss, objective.dpop_weight, objective.safe_dpo, objective.safe_dpo_share) == (
        "sigmoid",
        50,
        True,
        0.8,
    )
    assert (ask.guidance_scale, ask.guidance_scale_2, ask.negative_prompt, ask.adain_share) == (
        5.0,
        3.0,
        "blurred",
        0.38,
    )
    assert not settings.backbone.gradient_checkpointing
    assert (train.times, train.t_high, train.options) == ("logit_normal", 0.5, {"beta": 500.0})
    assert load_settings(toml) == settings  # a stage reads its settings more than once, and the studio at each request
    (record,) = caplog.records
    assert record.getMessage().startswith(f"{toml}: backbone.checkpointing is now backbone.gradient_checkpointing, ")
    assert 'train.lr_scheduler "none" is now "constant"' in record.getMessage()
    assert record.getMessage().endswith("; the old names are read until 0.2")
    caplog.clear()
    toml.write_text(to_toml(settings))
    assert load_settings(toml) == settings and not caplog.records


def test_all_former_names_are_of_settings_and_are_read_for_one_version() -> None:
    names = {name for name, _ in flat(Settings().model_dump())}
    assert not names & {*NAMES, *MOVED} and names >= {*NAMES.values(), *MOVED.values(), *VALUES}
    old, _ = zip(*flat(tomllib.loads(OLD)), strict=True)
    assert set(NAMES) <= set(old)
    version = [int(part) for part in rushes.__version__.split(".")]
    assert version < [int(part) for part in UNTIL.split(".")], "take the former names out of files, not out of digests"


def test_digests_are_those_of_the_former_names(toml: Path) -> None:
    former = {"height_px": 32, "width_px": 32, "frames": 17}  # defaults of the time
    toml.write_text(OLD)
    settings = load_settings(toml, [f"backbone.{name}={value}" for name, value in former.items()])
    assert with_first_names(settings.model_dump(mode="json"))["train"]["lr"] == 2e-5
    plain = Settings.model_validate({"backbone": former})
    digests = [settings_hash(table) for table in (plain, settings, settings.train, settings.generate)]
    assert digests == DIGESTS  # as they were before the change of names


def test_overrides_read_former_names_and_beat_the_file(toml: Path, caplog: pytest.LogCaptureFixture) -> None:
    toml.write_text("[train]\nlora_rank = 4\n")
    assert load_settings(toml, ["train.rank=8"]).train.lora_rank == 8
    assert caplog.messages == ["override: train.rank is now train.lora_rank; the old name is read until 0.2"]
    toml.write_text("[train]\nrank = 4\n")
    assert load_settings(toml, ["train.lora_rank=8"]).train.lora_rank == 8
    assert errors(toml, "train.rank=0") == [
        "override: train.lora_rank: Input should be greater than or equal to 1 (got 0)"
    ]


def test_a_setting_under_both_names_is_refused(toml: Path) -> None:
    toml.write_text("[train]\nrank = 4\nlora_rank = 8\n")
    both = "train.rank is now train.lora_rank, and both are given; remove train.rank"
    assert f"file: {both}" in errors(toml)
    toml.write_text("")
    assert f"override: {both}" in errors(toml, "train.rank=4", "train.lora_rank=8")


def test_options_of_a_recipe_outside_the_package_are_its_own(toml: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toml.write_text('[train]\nrecipe = "my.own"\noptions = {times = "mine"}\n')
    monkeypatch.setenv("RUSHES_TRUST", "module:my.own")
    assert load_settings(toml).train.options == {"times": "mine"}
    toml.write_text('[train]\noptions = {times = "mine"}\n')
    assert load_settings(toml, ["train.recipe=my.own"]).train.options == {"times": "mine"}


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
        learning_rate = -1
        lora_rank = "many"
        lr_scheduler = "linar"
        """
    )
    assert errors(toml, "evaluate.seeds=true", "report=4", "nonsense", "train..lr=1") == [
        "override: write KEY=VALUE with a dotted key, got 'nonsense'",
        "override: write KEY=VALUE with a dotted key, got 'train..lr=1'",
        "file: project.sed: unknown setting (got 1); did you mean: seed",
        "file: footage.path: footage of kind 'folder' needs the path of the folder (got '')",
        "file: generate.eta: the lowest noise level must be below the highest (got [0.9, 0.5])",
        "file: train.learning_rate: Input should be greater than 0 (got -1)",
        "file: train.lr_scheduler: Input should be 'linear' or 'constant' (got 'linar')",
        "file: train.lora_rank: Input should be a valid integer (got 'many')",
        "override: evaluate.seeds: Input should be a valid integer (got True)",
        "override: report: must be a table, written as [report] (got 4)",
        "file: stepz: unknown setting (got 5); delete it",
        "file: trian: unknown setting; did you mean: train",
    ]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.learning_rate=nan", "train.learning_rate: Input should be a finite number (got nan)"),
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
    [(b"[train", "not a TOML file: "), (b"\xff", "not UTF-8 text ("), (None, "cannot be read (No such file")],
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
    settings = Settings(train=TrainSettings(name="one", learning_rate=3e-7, options=options))
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
            assert len(lines[number - 1]) > len("# ") and lines[number - 1].startswith("# "), line
    assert max(map(len, lines)) <= 120


def test_hash_follows_the_values() -> None:
    assert settings_hash(TrainSettings(learning_rate=1e-5)) == settings_hash(TrainSettings())
    assert settings_hash(TrainSettings(learning_rate=2e-5)) != settings_hash(TrainSettings())
    assert settings_hash(TrainSettings(options={"a": 1, "b": 2})) == settings_hash(
        TrainSettings(options={"b": 2, "a": 1})
    )


def test_settings_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings().train.learning_rate = 1.0  # type: ignore[misc]


def test_settings_page_is_current() -> None:
    process = start(SCRIPT, arguments=[str(REPOSITORY / "scripts" / "docs"), "--check"])
    process.join()
    assert process.exitcode == 0


@pytest.mark.parametrize("path", sorted((REPOSITORY / "examples").glob("*.toml")), ids=lambda path: path.name)
def test_shipped_settings_load(path: Path) -> None:
    load_settings(path)
