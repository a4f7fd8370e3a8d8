"""Commands that need no project: the demo, lists, measurements, and the test of what papers claim."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from math import isnan
from pathlib import Path
from shlex import quote
from typing import Annotated, Literal

from cyclopts import App, Parameter

from rushes.cli.console import GE_0, AsJson, bar, in_words, refuse_unused, say, tell
from rushes.progress import waiting
from rushes.records import plain

bench = App(name="bench")
DEMO_TAKES = "about three minutes on two idle cores, twice that beside other work"


def demo(
    *,
    out: Annotated[Path, Parameter(help="folder to write to")] = Path("demo"),
    seed: Annotated[int, GE_0, Parameter(help="seed of data, training and evaluation")] = 0,
    as_json: AsJson = False,
) -> None:
    """Run all stages on the embedded world, in about three minutes on two cores, with a report."""
    from rushes.report.live import LivePage

    page = LivePage(out / "report.html", "Rushes demo", DEMO_TAKES)
    if not page.path.exists():  # the report of a demo that is there stays until the first stage goes on
        page.write()
    say(f"{DEMO_TAKES}; this page fills meanwhile: {page.path.resolve().as_uri()}")
    with waiting("loading PyTorch", say):
        from rushes.project.demo import demo_folder, run_demo

    summary = run_demo(out, seed, bar, page)
    folder = demo_folder(out, seed)
    place = quote(str(folder))
    ends = [
        f"project: {folder}",
        f"label some pairs: rushes label {place} --by human",
        f"train on them: rushes train {place} --recipe densedpo && rushes evaluate {place} --run densedpo",
        f"compare: rushes compare {place} realdpo densedpo",
        f"report: {(out / 'report.html').resolve()}",
        f"next: rushes studio {place}",
    ]
    tell(summary, as_json, [*in_words(summary), *ends])


def recipes(*, as_json: AsJson = False) -> None:
    """List the recipes: paper and what each needs."""
    from rushes.project.recipe_table import recipe_table

    rows = recipe_table()
    families = set[str]().union(*(row.backbones for row in rows))
    words = {"first_frame": "first frames", "guided": "guided takes", "gaps": "takes of captions with words left out"}
    lines = []
    for row in rows:
        needs = ", ".join(words.get(need, need) for need in row.needs) or "clips"
        without = ", ".join(sorted(families - set(row.backbones)))
        lines.append(f"{row.name:<10} {row.paper}; needs {needs}{f'; not on {without}' if without else ''}")
    tell(rows, as_json, lines)


def models(
    model: Annotated[
        str, Parameter(help="a released model's name, a folder or hub:OWNER/NAME: its settings and their sources")
    ] = "",
    *,
    as_json: AsJson = False,
) -> None:
    """List the families of video models; with a model's name, its sampling and training settings and their sources."""
    if model:
        from rushes.backbones.model_defaults import ModelResult, find_model, settings_of

        match = find_model(model)
        row = match.model
        result = ModelResult(
            row.name, row.family, row.repository, note=match.note, difference=row.difference, settings=settings_of(row)
        )
        lines = [f"{name}: {getattr(result, name)}" for name in ("name", "family", "repository")]
        lines += [f"note: {note}" for note in (match.note, row.difference) if note]
        lines += [f"{path} = {row.value!r}  # {row.source}" for path, row in result.settings.items()]
        return tell(result, as_json, lines)
    from rushes.backbones.table import backbone_table

    rows = backbone_table()
    lines = [
        f"{row.name:<12} from {', '.join(row.modes)}; predicts {row.path}; {row.temporal_ratio} frames and "
        f"{row.spatial_ratio} px per latent; {row.fps:g} fps"
        for row in rows
    ]
    tell(rows, as_json, lines)


@bench.command
def step(
    *,
    rounds: Annotated[int, GE_0, Parameter(help="timed rounds; medians are reported")] = 6,
    device: Annotated[str, Parameter(help="where to run: cpu, or a GPU as torch names it")] = "cpu",
    shape: Annotated[tuple[str, ...], Parameter(help="sizes to measure; repeatable")] = ("tiny", "mid"),
    compiled: Annotated[bool, Parameter(name=["--compile"], help="also with compiled blocks")] = False,
    out: Annotated[Path | None, Parameter(help="also write figures, machine and command to this JSON file")] = None,
    as_json: AsJson = False,
) -> None:
    """Measure seconds and peak memory of a supervised step, a naive preference step and Rushes' step."""
    os.environ.setdefault("KINETO_LOG_LEVEL", "5")  # torch's profiler talks on its own, and is loaded below
    from rushes.files import write_text
    from rushes.lab.step_cost import bench_lines, bench_step

    if out is not None and not out.parent.is_dir():
        raise ValueError(f"--out {out}: there is no folder {out.parent}; create it first")
    result = bench_step(rounds, device, shape, compiled)
    if out is not None:
        sizes = "".join(f" --shape {name}" for name in shape)
        command = f"rushes bench step --rounds {rounds} --device {device}{sizes}{' --compile' if compiled else ''}"
        write_text(out, json.dumps({"command": command, **plain(result)}, indent=1) + "\n")
    tell(result, as_json, bench_lines(result))


@bench.command(name="generate")
def bench_generate(*, as_json: AsJson = False) -> None:
    """Measure stages in one process and in eight, with a stand-in model that only waits; takes about five minutes."""
    from rushes.lab.sharing_bench import bench_lines, bench_sharing

    result = bench_sharing()
    tell(result, as_json, list(bench_lines(result)))


@bench.command(name="curation")
def bench_curation(
    *,
    clips: Annotated[int, GE_0, Parameter(help="true clips of the embedded world that each fault is planted in")] = 60,
    footage: Annotated[Path | None, Parameter(help="folder of real clips to plant the faults in instead")] = None,
    rows: Annotated[tuple[int, ...], GE_0, Parameter(help="synthetic clips to choose among; repeatable")] = (),
    seed: Annotated[int, GE_0, Parameter(help="of the clips")] = 0,
    as_json: AsJson = False,
) -> None:
    """Measure how well and how fast curation finds planted faults; with --rows only how its cost grows with the
    clips."""
    from rushes.lab.curation_bench import CurationBench, bench_lines, growth, planted, real_clips, speeds, world_clips

    if rows:
        refuse_unused({"--clips": clips != 60, "--footage": footage}, "planted faults, without --rows")
        result = CurationBench(growth=growth(sorted(rows), seed, bar))
    else:
        true = real_clips(footage) if footage else world_clips(clips, seed)
        result = CurationBench(faults=planted(true, bar=bar), speeds=speeds(true[:12]))
    tell(result, as_json, bench_lines(result))


@bench.command
def metrics(
    *,
    scenes: Annotated[int, GE_0, Parameter(help="scenes of the world, each also with one fault")] = 150,
    takes: Annotated[int, GE_0, Parameter(help="takes of the tiny model as it ships")] = 150,
    seed: Annotated[int, GE_0, Parameter(help="of scenes, faults and takes")] = 0,
    as_json: AsJson = False,
) -> None:
    """Measure how well each metric agrees with the embedded world's verifier; docs/metrics.md has the table."""
    from rushes.lab.metric_calibration import CalibrationResult, calibrate
    from rushes.stats import Interval

    def words(share: Interval | None) -> str:
        if share is None or isnan(share.value):
            return "unknown"
        return f"{share.value:+.2f} [{share.low:+.2f}, {share.high:+.2f}]"

    rows = calibrate(scenes, takes, seed, bar)
    lines = [
        f"{name}: twins {words(row.twins)}, faults {words(row.faults)}, takes {words(row.takes)}"
        for name, row in rows.items()
    ]
    tell(CalibrationResult(rows), as_json, lines)


@bench.command
def world(
    *,
    base: Annotated[str, Parameter(help="weights of a tiny model that lives there; empty = the base that ships")] = "",
    clips: Annotated[int, GE_0, Parameter(help="held-out clips that takes start from")] = 80,
    scenes: Annotated[
        int, GE_0, Parameter(help="sound clips, and planted ones for each law and kind, that judges see")
    ] = 1000,
    steps: Annotated[int, GE_0, Parameter(help="sampling steps of a take")] = 16,
    seed: Annotated[int, GE_0, Parameter(help="of clips and noise")] = 0,
    only: Annotated[tuple[str, ...], Parameter(help="tests to run, A1 to A7; repeatable")] = (),
    as_json: AsJson = False,
) -> None:
    """Test whether the embedded world can decide what the papers claim: a closed form, then tests A1 to A7."""
    from rushes.lab.world_bench import TESTS, WorldBenchAsk, bench_world, world_lines

    ask = WorldBenchAsk(base, clips, scenes=scenes, steps=steps, seed=seed, tests=only or TESTS)
    result = bench_world(ask, bar)
    tell(result, as_json, world_lines(result))


def reproduce(
    claims: Annotated[tuple[str, ...], Parameter(help="claims by name; default: the budget's")] = (),
    *,
    budget: Annotated[
        Literal["small", "full"],
        Parameter(help="number of seeds, and whether our own claims and the ablations are asked; arms are the same"),
    ] = "small",
    seeds: Annotated[
        int, GE_0, Parameter(help="training seeds, each with clips, takes and prompts of its own; 0 = the budget's")
    ] = 0,
    out: Annotated[Path, Parameter(help="folder to write to")] = Path("reproduce"),
    earlier: Annotated[
        Path | None,
        Parameter(help="evidence.parquet of earlier runs: what is in it and still current is not run again"),
    ] = None,
    jobs: Annotated[
        int, GE_0, Parameter(help="seeds that run side by side, a thread each; 0 = all, at most two a core")
    ] = 0,
    as_json: AsJson = False,
) -> None:
    """Run the arms of each claim on the embedded world, and say what was reproduced; a stopped run continues."""
    from rushes.lab.claims.evidence import FILE, read_evidence, write_evidence
    from rushes.lab.claims.hypotheses import find_claims
    from rushes.lab.claims.plots import write_plots
    from rushes.lab.claims.run import BUDGETS, FIRST_SEED, reproduce
    from rushes.lab.claims.verdict_table import ReproduceResult, write

    each = BUDGETS[budget]
    names = claims or each.claims
    chosen = find_claims(names)
    count = seeds or each.seeds
    before = read_evidence(earlier) if earlier else {}
    asked = range(FIRST_SEED, FIRST_SEED + count)
    evidence = reproduce(names, asked, out, each, jobs or min(count, 2 * (os.cpu_count() or 1)), before, bar)
    write_evidence(out / FILE, evidence)
    table = write(out, chosen, evidence, {**asdict(each), "seeds": count, "claims": len(chosen)})
    write_plots(out, chosen, table, FIRST_SEED)
    answers = {f"{row.claim}/{row.hypothesis.name}": row.outcome for row in table}
    tell(ReproduceResult(out / "table.md", out / FILE, answers), as_json)
