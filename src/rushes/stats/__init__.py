"""Intervals, comparisons, ranking, agreement, power and stopping; each name is imported from here."""

from rushes.stats.agreement import krippendorff_alpha
from rushes.stats.intervals import (
    Interval,
    WinRate,
    holm,
    mean_interval,
    mean_p_value,
    paired_difference,
    ratio_interval,
    wilson,
    win_rate,
)
from rushes.stats.moderated import NOTHING, Prior, fit_prior, telling
from rushes.stats.power import (
    PowerResult,
    chance_to_see,
    detectable_difference,
    detectable_win_rate,
    outcome_spread,
    prompts_needed,
    spread_of_means,
)
from rushes.stats.ranking import Match, bradley_terry, rank_systems
from rushes.stats.sequential import StoppingDecision, anytime_interval, watch
from rushes.stats.system_comparison import (
    Better,
    ComparisonTable,
    Difference,
    Key,
    Measure,
    Outcome,
    compare_systems,
    outcome,
    read_table,
)

__all__ = [
    "NOTHING",
    "Better",
    "ComparisonTable",
    "Difference",
    "Interval",
    "Key",
    "Match",
    "Measure",
    "Outcome",
    "PowerResult",
    "Prior",
    "StoppingDecision",
    "WinRate",
    "anytime_interval",
    "bradley_terry",
    "chance_to_see",
    "compare_systems",
    "detectable_difference",
    "detectable_win_rate",
    "fit_prior",
    "holm",
    "krippendorff_alpha",
    "mean_interval",
    "mean_p_value",
    "outcome",
    "outcome_spread",
    "paired_difference",
    "prompts_needed",
    "rank_systems",
    "ratio_interval",
    "read_table",
    "spread_of_means",
    "telling",
    "watch",
    "wilson",
    "win_rate",
]
