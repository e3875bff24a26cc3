"""Progress over tenants that work at the same time: it never runs past the whole, and ends at it if nobody failed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from stax_pipeline.pipeline.isolation import Tally


@given(st.lists(st.integers(0, 5), min_size=1, max_size=6), st.integers(1, 3))
def test_it_ends_at_the_whole_however_much_each_tenant_counted(counted: list[int], share: int) -> None:
    told: list[tuple[int, int]] = []
    tally = Tally(lambda done, total, _failed=0: told.append((done, total)), len(counted), share)
    for amount in counted:
        for _ in range(amount):
            tally.step()
    for amount in counted:
        tally.tenant_done(amount)
    assert told[-1] == (len(counted) * share, len(counted) * share)
    assert all(done <= total for done, total in told)


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=6), st.integers(1, 3))
def test_failed_work_is_not_done(tenants: list[tuple[int, bool]], share: int) -> None:
    told = [(0, 0, 0)]
    tally = Tally(lambda done, total, failed=0: told.append((done, total, failed)), len(tenants), share)
    for amount, failed in tenants:
        tally.step(amount)
        (tally.tenant_failed if failed else tally.tenant_done)(amount)
    done = sum(min(amount, share - 1) if failed else share for amount, failed in tenants)
    assert told[-1] == (done, len(tenants) * share, sum(failed for _, failed in tenants))


def test_a_tenant_without_work_is_no_part_of_the_whole() -> None:
    told: list[tuple[int, int]] = []
    tally = Tally(lambda done, total, _failed=0: told.append((done, total)), tenants=2, share=3)
    tally.tenant_without_work()
    tally.step(3)
    tally.tenant_done(3)
    assert told == [(3, 3)]


def test_nothing_is_told_where_nobody_has_work() -> None:
    told: list[tuple[int, int]] = []
    Tally(lambda done, total, _failed=0: told.append((done, total)), tenants=1, share=3).tenant_without_work()
    assert told == []


def test_a_page_shows_before_its_tenant_is_done() -> None:
    told: list[int] = []
    tally = Tally(lambda done, _total, _failed=0: told.append(done), tenants=2, share=3)
    tally.step()
    tally.step()
    tally.tenant_done(2)
    tally.step()
    tally.step(2)
    tally.tenant_done(3)
    assert told == [1, 2, 3, 4, 6], "the end is told once"
