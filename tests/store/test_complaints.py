from __future__ import annotations

from rushes.records import Annotation, Preference
from rushes.store.complaints import faults_by_take, faults_of
from rushes.store.database import Store


def test_faults_are_of_the_worse_take_and_of_both_where_neither_is(store: Store) -> None:
    row = Preference("p", "l", "r", (1, -1, 0, 0), "human:ada", 1.0, unjudged=(3,))
    remarks = Annotation(
        "n", "p", "human:ada", (("hand",), ("text",), ("flicker",), ()),
        span_starts_s=(0.0,), span_ends_s=(0.2,), span_labels=(1,), span_reasons=(("physics",),),
    )  # fmt: skip
    assert faults_of(row, remarks) == {"r": {"hand", "flicker", "physics"}, "l": {"text", "flicker"}}
    again = Preference("q", "l", "r", (-1,), "human:ada#again")
    more = Preference("s", "l", "k", (1,), "human:bob")
    store.add([row, remarks, again, Annotation("m", "q", again.judge, (("other",),))])
    store.add([more, Annotation("o", "s", "human:bob", (("hand",),))])
    assert faults_by_take(store) == {
        "r": {"hand": 1, "flicker": 1, "physics": 1}, "l": {"text": 1, "flicker": 1}, "k": {"hand": 1},
    }  # fmt: skip


def test_a_ranking_has_faults_of_each_take_and_takes_without() -> None:
    row = Preference("p", "a", "b", (1,), "human:ada")
    remarks = Annotation("n", "p", "human:ada", ((), ("hand",), ("text",)), ranking=(("b",), ("a", "c")))
    assert faults_of(row, remarks) == {"a": {"hand"}, "c": {"text"}}
