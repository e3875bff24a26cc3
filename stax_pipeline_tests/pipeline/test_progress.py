"""Progress over tenants that work at the same time: it never runs past the whole and ends at it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from stax_pipeline.pipeline.isolation import Tally


@given(st.lists(st.integers(0, 5), min_size=1, max_size=6), st.integers(1, 3))
def test_it_ends_at_the_whole_however_much_each_tenant_counted(counted: list[int], share: int) -> None:
    told: list[tuple[int, int]] = []
    tally = Tally(lambda done, total: told.append((done, total)), len(counted), share)
    for amount in counted:
        for _ in range(amount):
            tally.step()
    for amount in counted:
        tally.tenant_done(amount)
    assert told[-1] == (len(counted) * share, len(counted) * share)
    assert all(done <= total for done, total in told)


def test_a_page_shows_before_its_tenant_is_done() -> None:
    told: list[int] = []
    tally = Tally(lambda done, _total: told.append(done), tenants=2, share=3)
    tally.step()
    tally.step()
    tally.tenant_done(2)
    tally.step()
    tally.step(2)
    tally.tenant_done(3)
    assert told == [1, 2, 3, 4, 6], "the end is told once"
