"""What became of every arm and seed, and the one file that keeps it, from which tables are drawn anew."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from rushes.files import whole_file

PromptValues = dict[str, dict[str, float]]  # metric -> prompt -> value
FILE = "evidence.parquet"
_SCHEMA = pa.schema(
    [
        ("arm", pa.dictionary(pa.int16(), pa.string())),
        ("seed", pa.int32()),
        ("metric", pa.dictionary(pa.int8(), pa.string())),
        ("prompt", pa.dictionary(pa.int16(), pa.string())),
        ("value", pa.float32()),
    ]
)
_FACTS = b"rushes"
_FORMER = {"learned_by_heart": "memorised"}  # names of diagnoses in older evidence


@dataclass(frozen=True)
class Result:
    """What became of one arm with one seed."""

    made_from: str  # hash of its settings, data and budget: with another one it is run again
    values: PromptValues  # what both judges measured on held-out prompts; empty where the arm is not judged
    diagnoses: tuple[str, ...]  # names of what its own curves show to be wrong
    seconds: float  # that it took, on one thread of a machine that may have been busy
    # how strongly it was trained: `weight`, the mean DPO gradient weight at the end as a share of that at the start,
    # `visits`, how often each comparison was seen, and `drift`, held out, as a share of the reference's error
    strength: Mapping[str, float] = field(default_factory=dict)
    kinds: Mapping[str, str] = field(default_factory=dict)  # prompt -> kind of its scene, where nothing was trained

    @property
    def facts(self) -> dict[str, Any]:
        """All but the values."""
        return {key: value for key, value in asdict(self).items() if key != "values"}


Evidence = dict[str, dict[int, Result]]  # arm -> seed -> result


def result_of(facts: Mapping[str, Any], values: PromptValues) -> Result:
    """A result from `Result.facts` and its values."""
    wrong = tuple(_FORMER.get(name, name) for name in facts["diagnoses"])
    return Result(**{**facts, "values": values, "diagnoses": wrong})


def write_evidence(path: Path, evidence: Evidence) -> None:
    """One row per arm, seed, metric and prompt, as float32; what else is known of the arms stands in the metadata."""
    rows = [
        {"arm": arm, "seed": seed, "metric": metric, "prompt": prompt, "value": value}
        for arm, seeds in evidence.items()
        for seed, result in seeds.items()
        for metric, prompts in result.values.items()
        for prompt, value in prompts.items()
    ]
    facts = {arm: {str(seed): result.facts for seed, result in seeds.items()} for arm, seeds in evidence.items()}
    table = pa.Table.from_pylist(rows, _SCHEMA).replace_schema_metadata({_FACTS: json.dumps(facts)})
    with whole_file(path) as partial:
        pq.write_table(table, partial, compression="zstd")


def read_evidence(path: Path) -> Evidence:
    """What `write_evidence` wrote. Raises ValueError: not such a file."""
    try:
        table = pq.read_table(path)
        facts = json.loads((table.schema.metadata or {})[_FACTS])
    except (OSError, KeyError, ValueError) as error:
        raise ValueError(f"{path}: not a file of evidence that `rushes reproduce` wrote ({error})") from error
    values: dict[tuple[str, int], PromptValues] = {}
    columns = [column.to_pylist() for column in table.columns]
    for arm, seed, metric, prompt, value in zip(*columns, strict=True):
        values.setdefault((arm, seed), {}).setdefault(metric, {})[prompt] = value
    return {
        arm: {
            int(seed): result_of(facts_of_seed, values.get((arm, int(seed)), {}))
            for seed, facts_of_seed in seeds.items()
        }
        for arm, seeds in facts.items()
    }
