"""Commands that compare and show: evaluate, report, compare, sample-size, stop."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from rushes.cli.console import (
    GE_0,
    Anonymous,
    AsJson,
    Overrides,
    RunOption,
    bar,
    in_words,
    opened,
    refuse_unused,
    tell,
    tell_stage,
    within,
)
from rushes.cli.processes import Gpus, led
from rushes.config.uses import code, nothing
from rushes.project.settings import read_settings
from rushes.store.database import Store
from rushes.text_reader import counted

PROMPTS = (9, 20, 50, 100, 200, 500)  # numbers of them that are shown where nobody asks for one

if TYPE_CHECKING:
    from rushes.evaluate.external import ExternalScores, InputsResult
    from rushes.stats import PowerResult

Many = Parameter(consume_multiple=True, negative=())
ThresholdOption = Annotated[
    float | None, GE_0, Parameter(help="lowest score that counts as yes: 0.5; 4 for VideoPhy-2")
]


PromptFile = Annotated[Path | None, Parameter(help="file with one prompt per line (0, 1, ...), or JSON {name: prompt}")]
FirstFrames = Annotated[
    Path | None, Parameter(help="folder of stills NAME.png; default: first_frames beside the prompts")
]


def evaluate(
    project: Annotated[Path | None, Parameter(help="the project's folder; not with --systems")] = None,
    *,
    run: RunOption = "",
    systems: Annotated[tuple[str, ...], Many, Parameter(help="folders of videos, as NAME=FOLDER, the base first")] = (),
    prompts: PromptFile = None,
    first_frames: FirstFrames = None,
    out: Annotated[Path | None, Parameter(help="folder for table.json and report.html (with --systems)")] = None,
    headline: Annotated[str, Parameter(help="metric that the verdict is about; default: all together")] = "",
    seed: Annotated[int, GE_0, Parameter(help="seed of the bootstrap and of the choice of clips (with --systems)")] = 0,
    judges: Annotated[tuple[str, ...], Many, Parameter(name="--judge", help="judge for pairs: metric:NAME")] = (),
    write_vbench: Annotated[Path | None, Parameter(help="only write what VBench reads into this folder")] = None,
    write_videophy: Annotated[Path | None, Parameter(help="only write what VideoPhy reads into this folder")] = None,
    read_vbench: Annotated[tuple[str, ...], Many, Parameter(help="VBench's results, as NAME=FILE")] = (),
    read_videophy: Annotated[tuple[str, ...], Many, Parameter(help="VideoPhy's results, as NAME=SA_FILE,PC_FILE")] = (),
    videophy_threshold: ThresholdOption = None,
    gpus: Gpus = 1,
    overrides: Overrides = (),
    as_json: AsJson = False,
) -> None:
    """Compare base and trained model of a project, or folders of videos without one."""
    if (project is None) == (not systems):
        raise ValueError("name a project, or give two folders with --systems A=FOLDER B=FOLDER --out FOLDER")
    comparing = {
        "--out": out, "--headline": headline, "--seed": seed, "--judge": judges, "--read-vbench": read_vbench,
        "--read-videophy": read_videophy, "--videophy-threshold": videophy_threshold is not None,
    }  # fmt: skip
    writing = {"--write-vbench": write_vbench, "--write-videophy": write_videophy}
    if project is None:
        refuse_unused({"--run": run, "--gpus": gpus > 1}, "a project")
    else:
        texts = {"--prompts": prompts, "--first-frames": first_frames}
        refuse_unused({**texts, **comparing, **writing}, "folders of videos (--systems)")
        settings = read_settings(project, overrides, code)
        if led(project, gpus):
            return
        from rushes.project import reports, run_evaluation

        with opened(project, settings) as work:
            measured = run_evaluation.evaluate_run(work, run)
            summary = reports.write_summary(work.store, measured, work.seconds, work.settings.project.seed)
        return tell_stage(summary, as_json, project, settings, in_words(summary), run=run)
    folders = {name: Path(folder) for name, folder in _named(systems, "--systems").items()}
    if any(writing.values()):
        refuse_unused({**comparing, "--set": overrides}, f"a comparison, without {' and '.join(writing)}")
        wrote = _write_inputs(folders, prompts, first_frames, write_vbench, write_videophy)
        return tell(wrote, as_json, wrote.lines())
    if out is None:
        raise ValueError("--out is missing; give the folder for table.json and report.html")
    from rushes.evaluate.judged import check_judges, judge_folders
    from rushes.evaluate.systems import SystemsRequest, evaluate_systems

    results = _results(read_vbench, read_videophy, videophy_threshold)
    judged = check_judges(judges, overrides, out)
    asked = SystemsRequest(folders, out, prompts, first_frames, headline, judged=judged, seed=seed)
    result = evaluate_systems(asked, results, partial(judge_folders, judges, overrides, out, bar), bar)
    lines = [*result.verdicts.values(), *result.notes, f"table: {result.table}", f"report: {result.report}"]
    return tell(result, as_json, lines)


def report(
    project: Annotated[Path, Parameter(help="the project's folder")],
    *,
    run: RunOption = "",
    out: Annotated[Path | None, Parameter(help="folder to write to, in place of the project's reports/")] = None,
    anonymous: Anonymous = False,
    overrides: Overrides = (),
    as_json: AsJson = False,
) -> None:
    """Write the report of a run, one HTML file that opens offline; without a verdict where it was not evaluated."""
    from rushes.project import reports

    settings = read_settings(project, overrides, nothing)
    with Store.open(project) as store:
        result = reports.write_report(store, settings, run, out, anonymous)
    tell_stage(result, as_json, project, settings, run=run)


def compare(
    target: Annotated[Path, Parameter(help="a project's folder, or a folder that `evaluate --systems` wrote")],
    runs: Annotated[tuple[str, ...], Parameter(help="evaluated runs of the project, beside its base")] = (),
    *,
    gate: Annotated[
        Path | None, Parameter(help="TOML file of metric = margin; exit code 1 where one is worse than its margin")
    ] = None,
    overrides: Overrides = (),
    as_json: AsJson = False,
) -> None:
    """Compare several runs, with a gate for continuous integration."""
    from rushes.evaluate import compare as stage
    from rushes.evaluate.table_file import find_table, load_table

    wanted = stage.read_gate(gate) if gate is not None else None
    there = find_table(target)
    if there is not None and not runs:
        refuse_unused({"--set": overrides}, "runs of a project")
        settings = None
        table, better = load_table(there)
        result = stage.CompareResult(there)
    else:
        settings = read_settings(target, overrides, nothing)
        if not runs:
            raise ValueError(f"name runs of {target} to compare with its base: {_runs_of(target)}")
        with Store.open(target) as store:
            result = stage.compare_runs(store, settings, runs, wanted)
        table, better = load_table(result.table)
    breaches = stage.check_gate(table, wanted, better) if wanted else []
    result = replace(result, breaches=tuple(f"{b.system}: {b.metric}: {b.words}" for b in breaches))
    passed = [] if wanted is None or breaches else ["gate: passed"]
    verdicts = [(*pair.split("|"), words) for pair, words in (result.verdicts or {}).items()]
    lines = [f"{second} against {first}: {words}" for first, second, words in verdicts]
    lines += [*(f"gate: {words}" for words in result.breaches), *passed]
    files = {"table": result.table, "report": result.report}
    lines += [f"{name}: {path}" for name, path in files.items() if path]
    if settings is None or breaches:
        return tell(result, as_json, lines, fails=breaches)
    tell_stage(result, as_json, target, settings, lines)


def _runs_of(project: Path) -> str:
    with Store.open(project) as store:
        names = list(dict.fromkeys(run.name for run in store.runs()))
    return f"there is {', '.join(names)}" if names else f"none is finished; run `rushes train {quote(str(project))}`"


def sample_size(
    project: Annotated[
        Path | None, Parameter(help="a project's folder, to say for each metric what its evaluation can show")
    ] = None,
    *,
    run: Annotated[str, Parameter(help="run of the project; default: train.name of the settings")] = "",
    prompts: Annotated[int, GE_0, Parameter(help="number of prompts; 0 = say how many are needed")] = 0,
    points: Annotated[float, Parameter(help="win rate to detect, in points above 50 per cent")] = 0.0,
    ties: Annotated[float, within(0, 1), Parameter(help="expected share of ties")] = 0.0,
    difference: Annotated[float, Parameter(help="difference of a metric to detect, in its unit")] = 0.0,
    sd: Annotated[float, GE_0, Parameter(help="standard deviation of that difference from prompt to prompt")] = 0.0,
    seeds: Annotated[int, within(1), Parameter(help="seeds of each prompt")] = 1,
    alike: Annotated[float, within(0, 1), Parameter(help="correlation of seeds of one prompt, from 0 to 1")] = 0.5,
    chance: Annotated[float, within(0, 1), Parameter(help="power: wanted chance of detecting it")] = 0.8,
    as_json: AsJson = False,
) -> None:
    """Say how many prompts are needed to detect a difference, or what a number of prompts can show."""
    from rushes import stats

    if project is not None:
        others = {"--prompts": prompts, "--points": points, "--difference": difference, "--sd": sd, "--ties": ties}
        refuse_unused(others, "a question without a project")
        return _tell_reaches(project, run, as_json)
    refuse_unused({"--run": run}, "a project")
    if (difference == 0) != (sd == 0) or (points and difference):
        raise ValueError("give --points for a win rate, or --difference with --sd for a metric")
    if difference:
        refuse_unused({"--ties": ties}, "--points")
    spread = stats.spread_of_means(sd or stats.outcome_spread(0.5 + points / 100, ties), seeds, alike)
    wanted, what = difference or points / 100, f"{difference:g}" if difference else f"{points:g} points"
    if wanted:
        needed = prompts or stats.prompts_needed(wanted, spread, power=chance)
        seen = stats.chance_to_see(wanted, spread, prompts) if prompts else chance
        answer = stats.PowerResult(chance=seen) if prompts else stats.PowerResult(prompts=needed)
        return tell(answer, as_json, [f"{needed} prompts show {what} with a chance of {seen:.0%}"])
    table = {many: _shown_by(many, ties, chance) for many in ((prompts,) if prompts else PROMPTS)}
    lines = [_in_a_line(many, row, chance) for many, row in table.items()]
    tell(table[prompts] if prompts else stats.PowerTable(table), as_json, lines)


def _shown_by(prompts: int, ties: float, chance: float) -> PowerResult:
    from rushes import stats

    return stats.PowerResult(
        win_rate=stats.detectable_win_rate(prompts, ties, power=chance),
        standard_deviations=stats.detectable_difference(1.0, prompts, power=chance),
    )


def _in_a_line(prompts: int, row: PowerResult, chance: float) -> str:
    shown = "no win rate" if row.win_rate is None else f"a win rate of {100 * row.win_rate:.0f} % or more"
    change = f"a change of {row.standard_deviations:.2f} standard deviations"
    return f"{prompts} prompts show {shown}, or {change}, with a chance of {chance:.0%}"


def _tell_reaches(project: Path, run: str, as_json: bool) -> None:
    """What the evaluation of a project's run could show, and how many prompts would show what it saw."""
    from rushes.project.reports import more_prompts, reach_of

    settings = read_settings(project, (), nothing)
    with Store.open(project) as store:
        result = reach_of(store, settings, run)
        more = more_prompts(store, settings, result.run)
    lines = [
        f"{row.name}: a change of {row.smallest:.3g} is seen 4 times in 5 (base {row.base:.3g}); "
        + (f"{row.needed} prompts would show the change that was seen" if row.needed else "no number shows none")
        for row in result.metrics
    ]
    lines = lines or ["no metric's change varies between prompts"]
    tell(result, as_json, [*lines, f"next: {more}"])


def stop(
    votes: Annotated[
        Path, Parameter(help="file with win, tie or loss per line in the order of arrival, or CSV with prompt,vote")
    ],
    *,
    margin: Annotated[
        float, within(0, 0.5), Parameter(help="a win rate within this distance of one half counts as equal")
    ] = 0.05,
    as_json: AsJson = False,
) -> None:
    """Say whether a human study may stop; you may check after every vote."""
    from rushes.formats.scores import StudyResult, read_votes
    from rushes.stats import watch

    decision = watch(read_votes(votes), margin=margin)
    rate = decision.rate
    result = StudyResult(decision.decision, rate.value, low=rate.low, high=rate.high, n=rate.n, after=decision.after)
    may = f"may stop since {result.after}" if result.after else "goes on"
    words = (
        f"{result.decision}: win rate {rate.value:.3f}, within {rate.low:.3f} to {rate.high:.3f} at any stopping time"
    )
    tell(result, as_json, [f"{words}, {counted(rate.n, 'prompt or vote', 'prompts or votes')}; the study {may}"])


def _results(vbench: tuple[str, ...], videophy: tuple[str, ...], threshold: float | None) -> ExternalScores:
    """Result files of other programs, as typed; a threshold without scores would do nothing."""
    from rushes.evaluate.external import ExternalScores

    pairs = {name: _two(value) for name, value in _named(videophy, "--read-videophy").items()}
    if not pairs:
        refuse_unused({"--videophy-threshold": threshold is not None}, "--read-videophy")
    files = {name: Path(value) for name, value in _named(vbench, "--read-vbench").items()}
    return ExternalScores(files, pairs, 0.5 if threshold is None else threshold)


def _write_inputs(
    systems: dict[str, Path],
    prompts: Path | None,
    first_frames: Path | None,
    vbench: Path | None,
    videophy: Path | None,
) -> InputsResult:
    """What other programs read, and per system the command or the file."""
    from rushes.evaluate import external as others
    from rushes.evaluate.video_folders import find_folders

    folders = find_folders(systems, prompts, first_frames)
    return others.InputsResult(
        None if vbench is None else others.write_vbench(folders, vbench),
        None if videophy is None else others.write_videophy(folders, videophy),
    )


def _named(values: tuple[str, ...], option: str) -> dict[str, str]:
    """NAME=VALUE arguments by name."""
    pairs = [value.partition("=") for value in values]
    if bad := [name for name, equals, value in pairs if not (name and equals and value)]:
        raise ValueError(f"{option} must be NAME=PATH, got {bad[0]!r}")
    names = [name for name, _, _ in pairs]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"{option} names {twice[0]!r} twice; give each system a different name")
    return {name: value for name, _, value in pairs}


def _two(value: str) -> tuple[Path, Path]:
    first, comma, second = value.partition(",")
    if not comma:
        raise ValueError(f"--read-videophy must be NAME=SA_FILE,PC_FILE, got {value!r}")
    return Path(first), Path(second)
