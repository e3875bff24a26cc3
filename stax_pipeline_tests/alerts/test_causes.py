"""From facts to causes: the thresholds at their edges, one cause per subject, and words that a person can act on."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stax_pipeline.alerts.causes import (
    Cause,
    Kind,
    Late,
    NewValue,
    Quarantined,
    Rejected,
    Unpriced,
    check_failed,
    key_rejected,
    quarantined,
    tenant_late,
    unknown_values,
)
from stax_pipeline.alerts.figures import (
    ACCURACY_ADVICE,
    MODELS_NAMED,
    DaySpend,
    Inaccurate,
    OffInvoice,
    Restated,
    day_restated,
    invoice_differs,
    is_spike,
    price_accuracy_left,
    spend_spikes,
    weekday_median,
)
from stax_pipeline.derive.guards import shrink_reason
from stax_pipeline.derive.reconciliation import Cause as Likely

ACME, GLOBEX = UUID(int=1), UUID(int=2)
DAY = date(2026, 11, 21)
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def all_causes() -> Iterator[Cause]:
    """One of each kind."""
    yield from key_rejected([Rejected(ACME, "acme", NOON)])
    yield from quarantined(
        [Quarantined(ACME, "acme", "cost_report", "unit mismatch: far apart", DAY, date(2026, 11, 22), NOON)]
    )
    yield from tenant_late([Late(ACME, "acme", "cost_report", DAY, "missing")], [])
    yield from check_failed({"sums_tie": ["acme"]}, {"sums_tie": "Sums tie."}, {"acme": ACME})
    yield from unknown_values([Unpriced(ACME, "acme", "claude-next", "standard", "tokens", "global", DAY, DAY)], [])
    yield from price_accuracy_left([off("claude-next", "unexplained")], [])
    yield from spend_spikes(history(usual="100", today="301"), NOON.date())
    yield from day_restated(
        [Restated(ACME, "acme", DAY, "cost", DAY, Decimal(0), Decimal(2), Decimal(100), Decimal(98))]
    )
    yield from invoice_differs([OffInvoice(ACME, "acme", date(2026, 10, 1), Decimal(90), Decimal(100))])


def off(model: str, cause: str, day: date = DAY, usage_ratio: str = "1.5") -> Inaccurate:
    return Inaccurate(ACME, "acme", model, "standard", day, Decimal(usage_ratio), cause)


def history(usual: str, today: str, weeks: int = 4) -> list[DaySpend]:
    """The same weekday for some weeks, and DAY."""
    past = [DaySpend(ACME, "acme", DAY - timedelta(weeks=n), Decimal(usual)) for n in range(1, weeks + 1)]
    return [*past, DaySpend(ACME, "acme", DAY, Decimal(today))]


def test_every_kind_can_be_caused_and_says_what_and_what_to_do() -> None:
    found = list(all_causes())
    assert sorted(cause.kind for cause in found) == sorted(Kind)
    for cause in found:
        assert cause.what.endswith(".") and cause.todo.endswith("."), cause
        assert "select " not in (cause.what + cause.todo).lower()
        assert cause.slug == "acme"


class TestLate:
    def test_one_cause_per_tenant_names_the_first_day_and_counts_the_rest(self) -> None:
        rows = [
            Late(ACME, "acme", report, DAY - timedelta(days=n), "missing")
            for n in range(3)
            for report in ("cost_report", "usage_report")
        ]
        [found] = tenant_late(
            [
                *rows,
            ],
            [],
        )
        assert (found.day, found.subject) == (date(2026, 11, 19), "")
        assert "cost_report and usage_report of 2026-11-19 and 2 more days, the last 2026-11-21" in found.what

    def test_an_open_day_behind_its_refresh_is_told_as_such(self) -> None:
        [found] = tenant_late([Late(ACME, "acme", "usage_report", DAY, "late")], [])
        assert found.what == "The usage_report of 2026-11-21 is behind its refresh."

    def test_a_rejected_key_or_a_report_quarantined_is_the_cause_already(self) -> None:
        rows = [Late(t, s, r, DAY, "missing") for t, s in ((ACME, "acme"), (GLOBEX, "globex")) for r in ("a", "b")]
        rejected = list(key_rejected([Rejected(ACME, "acme", None)]))
        assert [cause.slug for cause in tenant_late(rows, rejected)] == ["globex"]
        held = list(quarantined([Quarantined(GLOBEX, "globex", "a", "shrunk: x", DAY, DAY, NOON)]))
        [acme, globex] = tenant_late(rows, held)
        assert "a and b" in acme.what
        assert globex.what.startswith("The b of")


class TestUnknown:
    def test_a_new_model_is_one_cause_however_many_tiers_and_days_show_it(self) -> None:
        rows = [
            Unpriced(ACME, "acme", "claude-next", tier, "tokens", "global", DAY - timedelta(days=n), DAY)
            for n, tier in enumerate(("standard", "batch", "priority"))
        ]
        [found] = unknown_values(rows, [])
        assert (found.subject, found.day) == ("model claude-next", date(2026, 11, 19))
        assert "from 2026-11-19 to 2026-11-21" in found.what

    def test_a_new_tier_is_one_cause_for_all_its_models_and_for_its_unknown_name(self) -> None:
        rows = [Unpriced(ACME, "acme", model, "express", "tokens", "global", DAY, DAY) for model in ("m1", "m2")]
        [found] = unknown_values(rows, [NewValue(ACME, "acme", "service_tier", "express", DAY, DAY)])
        assert found.subject == "service tier express"
        assert "no price" in found.what

    def test_a_geography_without_a_factor_is_one_cause_for_all_its_models(self) -> None:
        rows = [Unpriced(ACME, "acme", model, "standard", "tokens", "eu", DAY, DAY) for model in ("m1", "m2")]
        [found] = unknown_values(rows, [NewValue(ACME, "acme", "inference_geo", "eu", DAY, DAY)])
        assert found.subject == "inference geography eu"
        assert "no price" in found.what

    def test_a_name_from_outside_stays_on_one_line_and_short(self) -> None:
        [found] = unknown_values([], [NewValue(ACME, "acme", "cost_type", "a\nb\x1b[31m" + "x" * 500, DAY, DAY)])
        assert "\n" not in found.subject and "\x1b" not in found.subject
        assert len(found.subject) < 100


class TestPriceAccuracy:
    def test_one_likely_cause_is_one_cause_that_lists_the_models(self) -> None:
        rows = [off(f"m{n}", "contract discount", DAY - timedelta(days=d)) for n in range(2) for d in range(3)]
        [found] = price_accuracy_left([*rows, off("m1", "contract discount", usage_ratio="1.25")], [])
        assert (found.subject, found.day) == ("contract discount", DAY)
        assert "on 3 days, the last 2026-11-21: m0 (standard) 1.5000, m1 (standard) 1.2500. Likely" in found.what
        assert "`stax rates suggest acme`" in found.todo

    def test_many_models_are_counted(self) -> None:
        [found] = price_accuracy_left([off(f"m{n:02}", "unexplained") for n in range(MODELS_NAMED + 3)], [])
        assert "m11 (standard) 1.5000 and 3 more." in found.what

    @pytest.mark.parametrize(
        "likely",
        sorted(set(Likely) - {Likely.AGREES, Likely.BAND, Likely.UNKNOWN_PRICE, Likely.NOT_ARRIVED, Likely.NO_USAGE}),
    )
    def test_every_likely_cause_has_its_own_advice(self, likely: Likely) -> None:
        others = {ACCURACY_ADVICE[other] for other in ACCURACY_ADVICE if other != likely}
        [found] = price_accuracy_left([off("m", likely.value)], [])
        assert found.todo and found.todo not in others

    def test_a_restated_day_that_is_told_is_not_told_again(self) -> None:
        told = list(
            day_restated([Restated(ACME, "acme", DAY, "cost", DAY, Decimal(9), Decimal(0), Decimal(9), Decimal(18))])
        )
        rows = [off(f"m{n}", "restated day") for n in range(6)]
        assert list(price_accuracy_left(rows, told)) == []
        earlier = off("m0", "restated day", DAY - timedelta(days=1))
        [found] = price_accuracy_left([*rows, earlier], told)
        assert found.day == DAY - timedelta(days=1)
        assert [cause.subject for cause in price_accuracy_left([*rows, off("m9", "unexplained")], told)] == [
            "unexplained"
        ]


class TestSpike:
    @pytest.mark.parametrize(
        ("usd", "usual", "spike"),
        [("300", "100", True), ("299.999999", "100", False), ("50", "0", True), ("49.99", "0", False),
         ("49.99", "1", False), ("50", "16.666666666666666666", True), ("50", "16.67", False), ("-60", "-100", False)],
    )  # fmt: skip
    def test_three_times_the_usual_and_at_least_fifty_dollars(self, usd: str, usual: str, spike: bool) -> None:
        assert is_spike(Decimal(usd), Decimal(usual)) is spike

    def test_it_names_the_day_the_dollars_and_the_usual(self) -> None:
        [found] = spend_spikes(history("100", "450"), NOON.date())
        assert (found.day, found.subject) == (DAY, "2026-11-21")
        assert (
            "Spend on 2026-11-21 is $450.00, 4.5 times the usual $100.00 (median of the Saturdays before)" in found.what
        )

    def test_fewer_than_four_earlier_weeks_say_nothing(self) -> None:
        assert list(spend_spikes(history("1", "1000", weeks=3), NOON.date())) == []

    def test_other_weekdays_do_not_count(self) -> None:
        busy = [DaySpend(ACME, "acme", DAY - timedelta(days=n), Decimal(1)) for n in range(1, 28) if n % 7]
        assert list(spend_spikes([*busy, DaySpend(ACME, "acme", DAY, Decimal(900))], NOON.date())) == []

    def test_only_the_last_seven_days_are_judged_and_today_is_not(self) -> None:
        rows = history("1", "1000")
        assert list(spend_spikes(rows, DAY)) == []
        assert len(list(spend_spikes(rows, DAY + timedelta(days=7)))) == 1
        assert list(spend_spikes(rows, DAY + timedelta(days=8))) == []

    def test_one_earlier_spike_does_not_move_the_median(self) -> None:
        spent = {DAY - timedelta(weeks=n): Decimal(value) for n, value in enumerate((9000, 10, 12, 14, 16), start=1)}
        assert weekday_median(spent, DAY) == Decimal(14)
        assert weekday_median(dict(list(spent.items())[1:]), DAY) == Decimal(13)

    @given(st.lists(st.decimals(0, 10**9, places=4), min_size=4, max_size=8))
    def test_at_least_half_of_the_days_lie_on_either_side_of_the_median(self, values: list[Decimal]) -> None:
        median = weekday_median({DAY - timedelta(weeks=n): v for n, v in enumerate(values, start=1)}, DAY)
        assert median is not None
        assert 2 * sum(value <= median for value in values) >= len(values)
        assert 2 * sum(value >= median for value in values) >= len(values)


class TestRestated:
    @pytest.mark.parametrize(
        ("added", "taken", "before", "told"),
        [("1", "0", "100", False), ("1.000001", "0", "100", True), ("0", "1.01", "100", True), ("0.1", "0", "0", True),
         ("0.6", "0.6", "100", False), ("50", "50", "100", True)],
    )  # fmt: skip
    def test_more_than_one_percent_added_or_taken(self, added: str, taken: str, before: str, told: bool) -> None:
        fact = Restated(ACME, "acme", DAY, "cost", DAY, Decimal(added), Decimal(taken), Decimal(before), Decimal(0))
        assert len(list(day_restated([fact]))) == told

    @pytest.mark.parametrize(("added", "told"), [("1", False), ("1.01", True)])
    def test_a_day_that_was_credited_is_measured_by_its_charges(self, added: str, told: bool) -> None:
        fact = Restated(ACME, "acme", DAY, "cost", DAY, Decimal(added), Decimal(0), Decimal(-60), Decimal(100))
        assert len(list(day_restated([fact]))) == told

    def test_tokens_are_told_as_tokens(self) -> None:
        [found] = day_restated(
            [Restated(ACME, "acme", DAY, "usage", DAY, Decimal(0), Decimal(5000), Decimal(9000), Decimal(4000))]
        )
        assert "0 tokens added, 5,000 tokens taken away, of 9,000 tokens before" in found.what

    def test_a_day_restated_again_on_a_later_day_is_another_cause(self) -> None:
        facts = [
            Restated(
                ACME, "acme", DAY, "cost", DAY + timedelta(days=n), Decimal(9), Decimal(0), Decimal(90), Decimal(99)
            )
            for n in (1, 2)
        ]
        assert len({cause.subject for cause in day_restated(facts)}) == 2


def test_a_check_names_only_tenants_that_there_are() -> None:
    found = list(check_failed({"c": ["acme", "purged"], "d": []}, {}, {"acme": ACME, "globex": GLOBEX}))
    assert [(cause.slug, cause.subject) for cause in found] == [("acme", "c")]


def test_a_shrunk_report_gives_one_command_and_a_changed_unit_none() -> None:
    shrunk = shrink_reason("acme", [DAY], {DAY: Decimal(9)}, {}, "dollars")
    facts = [
        Quarantined(ACME, "acme", "cost_report", why, DAY, NOON.date(), NOON) for why in (shrunk, "unit mismatch: x")
    ]
    said = [cause.what + cause.todo for cause in quarantined(facts)]
    assert [text.count("--accept-shrink") for text in said] == [1, 0]
    assert [text.count("with the Console") for text in said] == [1, 1]
