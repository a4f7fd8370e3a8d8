from __future__ import annotations

import pytest
import torch

from rushes.objectives.terms import Term
from rushes.training.gradients import backward, measured_strategy, plain_errors, row_errors
from rushes.training.memory import GradientStrategy, activation_mib, budget_mib

from .conftest import Referenced, Rows, Small

ONES, MIXED = (1, 1, 1, 1), (0, 1, -1, 1)
PAIR = [Term("clip", (1.0, -1.0), ONES, 3.0)]
SEGMENTS = [Term("segment", (1.0, -1.0), MIXED, 3.0, reduction="segment")]
THREE = [Term("clip", (1.0, -1.0, 0.0), ONES, 3.0), Term("clip", (1.0, 0.0, -1.0), ONES, 3.0)]


@pytest.mark.parametrize(
    ("budget", "mode", "together"),
    [(80.0, "joint", 4), (79.0, "joint", 2), (40.0, "joint", 2), (20.0, "joint", 1), (19.0, "stash", 1)],
)
def test_as_many_comparisons_share_a_graph_as_fit(budget: float, mode: str, together: int, rows: Rows) -> None:
    plan = GradientStrategy("auto", view_mib=10.0, budget_mib=budget).plan(rows([PAIR] * 4, torch.float32))
    assert (plan.mode, plan.together) == (mode, together)
    assert f"of {budget:.0f} MiB" in plan.why


def test_comparisons_with_more_views_need_more(rows: Rows) -> None:
    batch = rows([PAIR, THREE, PAIR], torch.float32)
    assert GradientStrategy("auto", 10.0, 70.0).plan(batch).together == 3
    assert GradientStrategy("auto", 10.0, 69.0).plan(batch).together == 2  # two of the widest
    assert GradientStrategy("auto", 10.0, 29.0).plan(batch).mode == "stash"


def test_labels_per_segment_take_a_second_pass(rows: Rows) -> None:
    assert GradientStrategy("auto", 10.0, 1.0).plan(rows([SEGMENTS], torch.float32)).mode == "two_pass"


def test_what_is_asked_for_is_taken(rows: Rows) -> None:
    batch = rows([PAIR] * 4, torch.float32)
    assert GradientStrategy("joint", 10.0, 1.0).plan(batch).together == 4
    assert GradientStrategy("two_pass", 10.0, 1e9).plan(batch).mode == "two_pass"


@pytest.mark.parametrize("terms", [PAIR, SEGMENTS, THREE], ids=["pair", "segments", "three views"])
@pytest.mark.parametrize("together", [1, 2])
def test_graphs_of_a_few_comparisons_add_up(
    terms: list[Term], together: int, small: Small, rows: Rows, reference_of: Referenced
) -> None:
    backbone, batch = small(), rows([terms, PAIR if terms is THREE else terms] * 2, torch.float64)
    backbone.network.double()
    reference = reference_of(batch)
    widest = max(len(row[0].coefficients) for row in (terms, PAIR))
    found = []
    for strategy in (GradientStrategy("joint"), GradientStrategy("auto", 1.0, float(together * widest))):
        assert strategy.plan(batch).together == (4 if strategy.mode == "joint" else together)
        backbone.network.zero_grad(set_to_none=True)
        value, errors = backward(backbone, batch, reference, strategy)
        grads = torch.cat([p.grad.flatten() for p in backbone.network.parameters() if p.grad is not None])
        found.append((value, errors.policy_BVF, grads))
        torch.testing.assert_close(plain_errors(backbone, batch, strategy), errors.policy_BVF, rtol=0, atol=0)
    for one, other in zip(*found, strict=True):
        assert (one - other).norm() <= 1e-10 * one.norm()


def test_a_view_is_measured_as_it_is(small: Small, rows: Rows) -> None:
    """What autograd keeps, counted once per tensor: twice the clips keep twice as much, weights are not counted."""
    backbone, batch = small(), rows([PAIR] * 4, torch.float32)
    one = activation_mib(backbone.network, lambda: row_errors(backbone, batch, slice(0, 1)))
    four = activation_mib(backbone.network, lambda: row_errors(backbone, batch, slice(0, 4)))
    assert 0.1 < one < 1 and four == pytest.approx(4 * one, rel=0.05)
    strategy = measured_strategy(backbone, [batch], "auto", memory_mb=3)
    assert (strategy.view_mib, strategy.budget_mib) == (one, 3.0)
    assert all(p.grad is None for p in backbone.network.parameters())


def test_nothing_is_measured_where_nothing_is_chosen(rows: Rows) -> None:
    class Broken:
        network = torch.nn.Linear(1, 1)

    assert measured_strategy(Broken(), rows([PAIR], torch.float32), "stash") == GradientStrategy("stash")  # type: ignore[arg-type]


def test_a_machine_has_a_budget() -> None:
    assert 64 < budget_mib(torch.device("cpu")) <= 256
    assert budget_mib(torch.device("cpu"), 77) == 77.0
