"""Well-formed HTTP, wrong content: what passes is invisible, what stays stops one tenant, and afterwards all is there.

One installation goes through all faults of a report, one after the other.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from stax_pipeline.domain.extraction import Report
from stax_pipeline.domain.tenant import Tenant
from stax_pipeline.lake.raw import read_raw
from stax_pipeline.pipeline.isolation import Outcome
from stax_pipeline.simulator import faults
from stax_pipeline.simulator.faults import Fault
from stax_pipeline.warehouse.tenants import tenants_to_sync
from stax_pipeline_tests.conftest import Installation
from stax_pipeline_tests.pipeline.support import (
    COST,
    DAYS,
    USAGE,
    content,
    errors,
    execute,
    fetch,
    query,
    status,
    sync,
)
from stax_pipeline_tests.rig.oracle import Content, adopt, everything, run, write_files

WORKSPACES = "/v1/organizations/workspaces"
PATHS = {Report.COST: COST, Report.USAGE: USAGE, Report.ORGANIZATION: WORKSPACES}
DAY, HOUR = timedelta(days=1), timedelta(hours=1)

PASSING: dict[str, Fault] = {
    **{f"{code}": faults.status(code) for code in (408, 409, 429, 500, 502, 503, 504, 529)},
    **{
        f"retry-after {value}": faults.retry_after(value)
        for value in ("7", "0", "-1", "1.5", "nan", "soon", "", "Sun, 22 Nov 2026 12:00:09 GMT", "1" * 40)
    },
    "retry-after on 503": faults.retry_after("3", 503),
    "HTML with 200": faults.html(),
    "HTML with 502": faults.html(502),
    "error envelope with 200": faults.error_envelope(),
    "empty 200": faults.body(""),
    "204": faults.body("", 204),
    "null": faults.body("null"),
    "half a page": faults.body('{"data": [{"starting_at": "2026-11-19T00:00:00Z"'),
}

STOPPING: dict[str, tuple[Fault, str]] = {
    **{f"{code} for ever": (faults.status(code), str(code)) for code in (429, 500, 529)},
    "401": (faults.status(401), "401"),
    "403": (faults.status(403), "403"),
    "402": (faults.status(402), "402"),
    "404": (faults.status(404), "404"),
    "an hour's wait": (faults.retry_after("99999"), "left alone until"),
    "spend limit": (
        faults.error_envelope("rate_limit_error", 429, "enforced_spend_limit_reached"), 
        "paused by the provider until 2026-12-01 00:00 UTC",
    ),
    "HTML for ever": (faults.html(), "strange answer"),
    "error envelope for ever": (faults.error_envelope(), "error envelope"),
    "more without a token": (faults.has_more_without_token(), "inconsistent paging"),
    "no data": (faults.missing_field("data"), "data is missing"),
    "no has_more": (faults.missing_field("has_more"), "has_more is missing"),
    "a list": (faults.body([]), "not an object"),
    "two values for a name": (faults.body('{"data": [], "data": [], "has_more": false}'), "twice"),
    "a deep page": (faults.body("[" * 100_000), "strange"),
    "a long number": (faults.body('{"data": ' + "9" * 5000 + "}"), "strange"),
}  # fmt: skip

OF_REPORTS: dict[str, tuple[Fault, str]] = {
    "the same token for ever": (faults.repeated_token(), "repeats an earlier page's cursor"),
    "a token without more": (faults.token_without_more(), "inconsistent paging"),
    "empty pages": (faults.empty_page(), "cursor"),
    "a missing day": (faults.missing_buckets(), "no bucket for 2026-11-19"),
    "days outside the window": (faults.moved_buckets(-DAY), "outside the window"),
    "half days": (faults.moved_buckets(timedelta(0), -12 * HOUR), "UTC midnight"),
    "overlapping days": (faults.moved_buckets(timedelta(0), DAY), "not one day wide"),
    "days of another zone": (faults.moved_buckets(HOUR), "UTC midnight"),
    "no bucket times": (faults.missing_field("starting_at"), "starting_at is missing"),
    "no results": (faults.missing_field("results"), "results is missing"),
    "restated for ever": (faults.restated_buckets(lambda row: row.update(workspace_id="other")), "restated"),
}

OF_COST: dict[str, tuple[Fault, str]] = {
    "no amount": (faults.missing_field("amount"), "amount"),
    "no currency": (faults.missing_field("currency"), "currency"),
    "euros": (faults.currency("EUR"), "EUR"),
    "usd": (faults.currency("usd"), "usd"),
    "euros among dollars": (Fault(change=lambda page, _: page["data"][0]["results"][-1].update(currency="EUR")), "EUR"),
    "a number for an amount": (faults.amounts(lambda _: 1.5), "amount"),  # type: ignore[arg-type,return-value]
    **{f"amount {text!r}": (faults.amounts(lambda _, text=text: text), "amount") for text in (
        "NaN", "Infinity", "-Infinity", "1_000", " 1", "1,5", "١٢٣", "1E+5000", "", "0x10", "1.5.5",
    )},
}  # fmt: skip


def _counted(name: str, value: object) -> Fault:
    def edit(page: dict[str, Any], _: str) -> None:
        for bucket in page["data"]:
            for row in bucket["results"]:
                row[name] = value

    return Fault(change=edit)


OF_USAGE: dict[str, tuple[Fault, str]] = {
    "no output tokens": (faults.missing_field("output_tokens"), "output_tokens"),
    "no cache creation": (faults.missing_field("cache_creation"), "cache_creation"),
    "flat cache creation": (_counted("cache_creation", 5), "cache_creation"),
    **{f"output tokens {value!r}": (_counted("output_tokens", value), "output_tokens")
       for value in (-1, 1.5, 2**63, "7", None, True)},
}  # fmt: skip

ALL = {
    Report.COST: {**STOPPING, **OF_REPORTS, **OF_COST},
    Report.USAGE: {**STOPPING, **OF_REPORTS, **OF_USAGE},
    Report.ORGANIZATION: STOPPING,
}


@pytest.fixture
def acme(made: Installation) -> Callable[[Report], Outcome]:
    """Fetch a report for acme alone, which stays connected and whose names are not of today, whatever came before."""

    def get(report: Report) -> Outcome:
        execute(made, "update stax.tenants set status = 'connected'")
        execute(made, "update stax.extractions set window_start = '2026-11-01' where report = 'organization'")
        return fetch(made, report, _tenants(made, "acme"))

    return get


def _kept(made: Installation, report: Report) -> str:
    """What the newest extraction kept of the answers that came: its last page, or the beginning of what was none."""
    newest = "select raw_uri, sha256 from stax.extractions where report = :report order by recorded_at desc limit 1"
    [row] = query(made, newest, report=report)
    if row.raw_uri is None:
        return ""
    header, pages = read_raw(made.lake, row.raw_uri, row.sha256)
    return header.excerpt or [page.body for page in pages][-1]


def _tenants(made: Installation, *slugs: str) -> list[Tenant]:
    with made.engine.connect() as connection:
        return tenants_to_sync(connection, slugs)


@pytest.mark.parametrize("report", PATHS)
def test_what_passes_is_invisible(
    made: Installation, expected: Content, acme: Callable[[Report], Outcome], report: Report
) -> None:
    for name, fault in PASSING.items():
        made.simulator.faults.clear()
        made.simulator.faults.add(fault, key=made.simulator.keys["acme"], path=PATHS[report])
        ran = acme(report)
        assert (ran.failures, ran.retries) == ({}, 1), name
    run(made)
    assert everything(made) == expected


@pytest.mark.parametrize("report", PATHS)
def test_what_stays_stops_that_tenant_in_words_and_nothing_of_it_lands(
    made: Installation, expected: Content, acme: Callable[[Report], Outcome], report: Report
) -> None:
    for name, (fault, words) in ALL[report].items():
        made.simulator.faults.clear()
        made.simulator.faults.add(fault, key=made.simulator.keys["acme"], path=PATHS[report], times=None)
        told = acme(report).failures
        assert words in told.get("acme", "nothing"), (name, told)
        assert errors(made, "acme")[-1] == told["acme"]
        assert _kept(made, report) or fault.status not in (None, 200), (name, "nothing of the answer was kept")
    assert len(errors(made, "acme")) == len(ALL[report])
    sync(made, reports=())
    assert content(made, "acme")["coverage"] == []
    made.simulator.faults.clear()
    execute(made, "update stax.tenants set status = 'connected'")
    run(made)
    assert everything(made) == expected


class TestBetween:
    """Faults that strike once while a window is read, or in its meaning."""

    def test_restated_while_reading_is_read_once_more(self, made: Installation, expected: Content) -> None:
        fault = faults.restated_buckets(lambda row: row.update(amount="1"))
        made.simulator.faults.add(fault, key=made.simulator.keys["acme"], path=COST)
        ran = run(made)
        assert ran.failures == {}
        assert any("read twice" in words for words in ran.findings)
        assert everything(made) == expected

    def test_a_proxys_page_is_kept_without_the_key_it_repeats(
        self, made: Installation, acme: Callable[..., Outcome]
    ) -> None:
        key = made.simulator.keys["acme"]
        made.simulator.faults.add(faults.body(f"<html>{key}{'.' * 5000}"), path="/v1/organizations/me", times=None)
        assert "strange answer 200" in acme(Report.COST).failures["acme"]
        kept = _kept(made, Report.COST)
        assert (kept[:12], len(kept)) == ("<html>[key].", 2048)
        adopt(made)

    def test_restated_for_ever_is_read_twice_and_no_more(
        self, made: Installation, acme: Callable[..., Outcome]
    ) -> None:
        fault = faults.restated_buckets(lambda row: row.update(amount="1"))
        made.simulator.faults.add(fault, path=COST, times=None)
        assert "restated while reading" in acme(Report.COST).failures["acme"]
        assert _asked(made, COST) == 2

    def test_a_page_token_that_expired_drops_its_pages_and_is_read_once_more(
        self, made: Installation, expected: Content
    ) -> None:
        for nth, fault in enumerate((faults.first_bucket_only(), faults.status(400)), start=1):
            made.simulator.faults.add(fault, key=made.simulator.keys["acme"], path=COST, nth=nth)
        ran = run(made)
        assert (ran.failures, _asked(made, COST, "acme")) == ({}, 3)
        assert any("read twice: the source no longer knows its page token" in words for words in ran.findings)
        assert {
            row.pages for row in query(made, "select pages from stax.extractions where report = 'cost_report'")
        } == {1}
        assert everything(made) == expected

    def test_a_page_token_that_always_expires_stops_the_tenant(
        self, made: Installation, acme: Callable[..., Outcome]
    ) -> None:
        for nth in (1, 3):
            made.simulator.faults.add(faults.first_bucket_only(), path=COST, nth=nth)
            made.simulator.faults.add(faults.status(400), path=COST, nth=nth + 1)
        assert "no longer knows its page token" in acme(Report.COST).failures["acme"]
        assert _asked(made, COST) == 4

    def test_buckets_and_rows_in_any_order_are_the_same(self, made: Installation, expected: Content) -> None:
        for path in (COST, USAGE):
            made.simulator.faults.add(faults.out_of_order(), path=path, times=None)
        assert run(made).failures == {}
        assert everything(made) == expected

    def test_a_bucket_that_comes_twice_word_for_word_counts_once(self, made: Installation, expected: Content) -> None:
        for path in (COST, USAGE):
            made.simulator.faults.add(faults.restated_buckets(lambda _: None), path=path, times=None)
        ran = run(made)
        assert ran.failures == {}
        assert any("came twice, word for word; it counts once" in words for words in ran.findings)
        assert everything(made) == expected

    def test_new_fields_are_kept_and_change_no_figure(self, made: Installation, expected: Content) -> None:
        made.simulator.faults.add(faults.new_fields(), path=COST, times=None)
        made.simulator.faults.add(faults.new_fields(7), path=USAGE, times=None)
        ran = run(made)
        assert ran.failures == {}
        told = {(step, words.partition(",")[0]) for step in (Report.COST, Report.USAGE)
                for found in ran.steps[step].findings.values() for words in found}  # fmt: skip
        assert told == {(step, "unknown field field_of_tomorrow") for step in (Report.COST, Report.USAGE)}
        assert "field_of_tomorrow" in _kept(made, Report.COST)
        found = content(made)
        assert all("field_of_tomorrow" in row for row in found["cost_lines"])
        assert {
            t: found[t] for t in ("spend", "spend_totals", "spend_day_totals", "spend_by_key", "reconciliation")
        } == {t: expected[t] for t in ("spend", "spend_totals", "spend_day_totals", "spend_by_key", "reconciliation")}
        made.simulator.faults.clear()
        run(made)
        assert content(made)["cost_lines"] == expected["cost_lines"]

    def test_a_changed_unit_is_quarantined(self, made: Installation, expected: Content) -> None:
        """The other way round, dollars where cents are due, is in `test_isolation`: it takes a bill above a dollar."""
        made.simulator.faults.add(faults.hundredths_of_cents(), key=made.simulator.keys["acme"], path=COST, times=None)
        run(made)
        assert "unit mismatch" in errors(made, "acme")[0]
        assert [row for row in content(made)["cost_lines"] if "'acme'" in row] == []
        made.simulator.faults.clear()
        run(made)
        assert everything(made) == expected

    def test_a_key_revoked_in_mid_run_publishes_nothing_of_its_window(
        self, made: Installation, expected: Content
    ) -> None:
        made.simulator.faults.add(faults.status(401), key=made.simulator.keys["acme"], path=USAGE, nth=3, times=None)
        run(made)
        assert status(made, "acme") == "key_rejected"
        assert [row for row in content(made)["usage_lines"] if "'acme'" in row] == []
        made.simulator.faults.clear()
        sync(made, DAYS, "acme")
        write_files(made)
        assert status(made, "acme") == "connected"
        assert everything(made) == expected
        assert query(made, "select 1 from stax.extractions where error like '%401%' and pages = 2") != []


def _asked(made: Installation, path: str, *slugs: str) -> int:
    hints = {made.simulator.keys[slug][-4:] for slug in slugs}
    return sum(each.path == path and (not hints or each.key_hint in hints) for each in made.simulator.requests)


def test_one_tenant_with_everything_wrong_costs_the_other_nothing(made: Installation, expected: Content) -> None:
    """All of acme's answers are wrong, each in another way; globex is equal to the byte."""
    for report, path in PATHS.items():
        for nth, (fault, _) in enumerate(ALL[report].values(), start=1):
            made.simulator.faults.add(fault, key=made.simulator.keys["acme"], path=path, nth=nth)
    run(made)
    between = content(made)
    for table in (
        "cost_lines",
        "usage_lines",
        "spend",
        "spend_totals",
        "spend_day_totals",
        "spend_by_key",
        "reconciliation",
    ):
        ours = [row for row in expected[table] if "'globex'" in row]
        assert [row for row in between[table] if "'globex'" in row] == ours
    made.simulator.faults.clear()
    execute(made, "update stax.tenants set status = 'connected'")
    run(made)
    assert everything(made) == expected
