"""The chain of functions that a trace header tells of."""

from hypothesis import given
from hypothesis import strategies as st

from lamplighter.invoke.lineage import mark_of, pass_through
from lamplighter.model.functions import FunctionId

ROOT = "Root=1-65f0c0de-0123456789abcdef01234567;Parent=0123456789abcdef;Sampled=0"
F = mark_of(FunctionId("000000000000", "us-east-1", "f"))


def test_a_first_pass_begins_a_lineage():
    assert pass_through(ROOT, "a87bd80c") == (f"{ROOT};Lineage=a87bd80c:1", 1)


def test_passes_are_counted_for_each_function():
    trace = f"{ROOT};Lineage=a87bd80c:1|68fd508a:5|c512fbe3:2"
    assert pass_through(trace, "68fd508a") == (f"{ROOT};Lineage=a87bd80c:1|c512fbe3:2|68fd508a:6", 6)
    assert pass_through(trace, "00000000").passes == 1


def test_a_number_in_front_of_the_mark_and_another_order_are_understood():
    trace = "Root=1-a;Lineage=1:a87bd80c:3;Parent=b;Sampled=1"
    assert pass_through(trace, "a87bd80c") == ("Root=1-a;Parent=b;Sampled=1;Lineage=a87bd80c:4", 4)


def test_what_is_no_entry_is_dropped():
    trace = f"{ROOT};Lineage=nonsense|a87bd80c:x|:|a87bd80c:99999999999|A87BD80C:1||68fd508a:2"
    assert pass_through(trace, "a87bd80c") == (f"{ROOT};Lineage=68fd508a:2|a87bd80c:1", 1)


def test_functions_are_told_apart():
    others = [FunctionId("000000000000", "us-east-1", "g"), FunctionId("000000000001", "us-east-1", "f")]
    assert F not in map(mark_of, others)


@given(st.lists(st.sampled_from([f"{number:08x}" for number in range(50)]), min_size=1, max_size=200))
def test_passes_through_a_few_functions_are_exact_and_the_header_stays_short(chain: list[str]):
    trace, counted = ROOT, dict[str, int]()
    for mark in chain:
        trace, passes = pass_through(trace, mark)
        counted[mark] = counted.get(mark, 0) + 1
        if len(counted) <= 32:
            assert passes == counted[mark]
    assert len(trace) <= len(ROOT) + 500


@given(st.text(max_size=300))
def test_no_header_breaks_it(text: str):
    trace, passes = pass_through(f"{ROOT};Lineage={text}", F)
    assert passes >= 1
    assert pass_through(trace, F).passes == passes + 1
