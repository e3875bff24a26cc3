"""What happens to the demo's organisations is a fact of theirs, told through the same API, and can be left out."""

from __future__ import annotations

import csv
import itertools
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import httpx
import pytest

from stax_pipeline.simulator import (
    Commitment,
    Correction,
    Credit,
    Simulator,
    corrected_day,
    demo_organizations,
    invoice_lines,
    invoiced_month,
    story_organizations,
    truth,
    write_documents,
)
from stax_pipeline_tests.simulator.conftest import COST, USAGE, Client, Clock

TODAY = date(2026, 11, 22)
PLAIN_ACME, PLAIN_GLOBEX = demo_organizations()
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def told() -> Iterator[Client]:
    """The story's simulator, asked as acme."""
    clock = Clock()
    with (
        Simulator(story_organizations(TODAY), clock=clock) as simulator,
        httpx.Client(base_url=simulator.base_url, trust_env=False) as http,
    ):
        yield Client(simulator, clock, http, simulator.keys["acme"])


def cents(client: Client, day: date) -> Decimal:
    rows = client.rows(COST, f"{day}T00:00:00Z", f"{day + DAY}T00:00:00Z", ("workspace_id", "description"))
    return sum((Decimal(row["amount"]) for row in rows), Decimal(0))


def test_a_credit_is_one_row_of_the_cost_report_without_type_or_model(told: Client) -> None:
    rows = told.rows(COST, "2026-11-12T00:00:00Z", "2026-11-13T00:00:00Z", ("workspace_id", "description"))
    (credit,) = [row for row in rows if row["cost_type"] is None]
    assert (credit["amount"], credit["description"]) == ("-25000.000000", "Service credit")
    assert all(credit[name] is None for name in ("model", "token_type", "service_tier", "workspace_id"))
    day_after = told.rows(COST, "2026-11-13T00:00:00Z", "2026-11-14T00:00:00Z", ("workspace_id", "description"))
    assert all(row["cost_type"] for row in day_after)


def test_a_credit_is_there_when_its_day_is_over_and_takes_what_it_says_off() -> None:
    acme = replace(PLAIN_ACME, credits=(Credit(12, Decimal("250.00")),))
    day = date(2026, 11, 12)
    assert truth(acme, day).reported_usd == truth(PLAIN_ACME, day).reported_usd - 250
    assert truth(acme, day, minutes=720).reported_usd == truth(PLAIN_ACME, day, minutes=720).reported_usd


def test_a_correction_holds_dollars_of_one_day_back_until_the_source_corrects_it() -> None:
    day = corrected_day(TODAY)
    organization = replace(PLAIN_ACME, corrections=(Correction(day, Decimal("0.04")),))
    clock = Clock()
    with (
        Simulator([organization], clock=clock) as simulator,
        httpx.Client(base_url=simulator.base_url, trust_env=False) as http,
    ):
        client = Client(simulator, clock, http, simulator.keys["acme"])
        first = {one: cents(client, one) for one in (day - DAY, day)}
        tokens = client.rows(USAGE, f"{day}T00:00:00Z", f"{day + DAY}T00:00:00Z")
        simulator.correct()
        assert cents(client, day - DAY) == first[day - DAY]
        assert first[day] == cents(client, day) * Decimal("0.96")
        assert cents(client, day).scaleb(-2) == truth(PLAIN_ACME, day).reported_usd
        assert client.rows(USAGE, f"{day}T00:00:00Z", f"{day + DAY}T00:00:00Z") == tokens


def test_late_cost_comes_when_its_delay_is_over_and_usage_is_there_at_once() -> None:
    clock = Clock(datetime(2026, 11, 22, 15, 0, tzinfo=UTC))
    with (
        Simulator([replace(PLAIN_GLOBEX, cost_delay=DAY)], clock=clock) as simulator,
        httpx.Client(base_url=simulator.base_url, trust_env=False) as http,
    ):
        client = Client(simulator, clock, http, simulator.keys["globex"])

        def days(path: str) -> list[str]:
            found = client.buckets(path, "2026-11-19T00:00:00Z", "2026-11-22T00:00:00Z")
            return [bucket["starting_at"][:10] for bucket in found]

        assert days(COST) == ["2026-11-19", "2026-11-20"]
        assert days(USAGE) == ["2026-11-19", "2026-11-20", "2026-11-21"]
        alone = [("starting_at", "2026-11-21T00:00:00Z"), ("ending_at", "2026-11-22T00:00:00Z")]
        refused = client.get(COST, alone)
        assert refused.status_code == 400
        assert refused.json()["error"]["message"] == "ending date must be after starting date"
        clock.now += DAY
        assert days(COST) == ["2026-11-19", "2026-11-20", "2026-11-21"]


def test_without_its_facts_an_organisation_of_the_story_is_the_plain_one() -> None:
    acme, globex = story_organizations(TODAY)
    off = replace(acme, credits=(), corrections=(), commitments=(), streams=PLAIN_ACME.streams)
    for day in (date(2026, 11, 12), corrected_day(TODAY)):
        assert truth(off, day) == truth(PLAIN_ACME, day)
        assert truth(acme, day).reported_usd != truth(PLAIN_ACME, day).reported_usd
    assert (acme.admin_key, globex.admin_key) == (PLAIN_ACME.admin_key, PLAIN_GLOBEX.admin_key)
    assert truth(globex, TODAY) == truth(PLAIN_GLOBEX, TODAY)


def test_every_priority_token_of_acme_is_of_the_committed_model() -> None:
    acme, _ = story_organizations(TODAY)
    for days_back in range(62):
        used = truth(acme, TODAY - DAY * days_back).tokens
        assert {model for model, tier, _ in used if tier == "priority"} == {acme.commitments[0].model}


@pytest.mark.parametrize("today", [date(2026, 11, 1) + DAY * n for n in range(0, 800, 5)], ids=str)
def test_sixty_two_days_hold_the_invoiced_month_with_all_its_cost_whatever_the_day(today: date) -> None:
    month = invoiced_month(today)
    last = (month + DAY * 31).replace(day=1) - DAY
    assert today - DAY * 62 <= month
    assert last < today - DAY, "the last day but one is the first whose cost is there"


def test_a_month_is_invoiced_as_its_days_cost_and_what_no_report_holds() -> None:
    acme, globex = story_organizations(TODAY)
    days = [date(2026, 10, 1) + DAY * n for n in range(31)]
    lines = dict(invoice_lines(acme, days[0]))
    reported = sum(truth(acme, day).reported_usd for day in days)
    assert lines["Service credit"] == -250
    assert lines["Priority Tier commitment acme-2026-h2: 31 days"] == 31 * acme.commitments[0].usd_per_day
    assert sum(lines.values()) == round(reported + 31 * acme.commitments[0].usd_per_day, 2)
    lines = dict(invoice_lines(globex, days[0]))
    assert lines["Priority Tier usage"] == round(sum(truth(globex, day).priority_usd for day in days), 2)
    assert lines["Claude usage in October 2026"] == round(sum(truth(globex, day).reported_usd for day in days), 2)


def test_a_day_that_is_shown_too_low_is_invoiced_whole() -> None:
    today = date(2026, 12, 3)
    acme, _ = story_organizations(today)
    assert corrected_day(today).replace(day=1) == invoiced_month(today)
    assert list(invoice_lines(acme, date(2026, 11, 1))) == list(
        invoice_lines(replace(acme, corrections=()), date(2026, 11, 1))
    )


def test_commitments_are_signed_by_half_years_and_cover_every_day(tmp_path: Path) -> None:
    held = Commitment("claude-opus-4-8", 60_000, 6_000, Decimal("490.00"), date(2026, 7, 1))
    acme = replace(PLAIN_ACME, commitments=(held,))
    write_documents(tmp_path, [acme], date(2026, 11, 22), date(2027, 1, 22), date(2026, 12, 1))
    with (tmp_path / "commitments.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["commitment_id"] for row in rows] == ["acme-2026-h2", "acme-2027-h1"]
    assert [(row["starts_on"], row["ends_on"]) for row in rows] == [
        ("2026-07-01", "2026-12-31"),
        ("2027-01-01", "2027-06-30"),
    ]
    assert [Decimal(row["fee_usd"]) for row in rows] == [490 * 184, 490 * 181]
    assert (tmp_path / "invoice-acme-2026-12.csv").exists()


def test_no_commitment_is_older_than_its_signature(tmp_path: Path) -> None:
    """`stax demo --days 200` reaches back to before its committed model had a price."""
    write_documents(tmp_path, story_organizations(TODAY), date(2026, 5, 12), date(2026, 11, 28), date(2026, 6, 1))
    with (tmp_path / "commitments.csv").open() as file:
        assert [row["starts_on"] for row in csv.DictReader(file)] == ["2026-07-01"]
    assert "commitment" not in (tmp_path / "invoice-acme-2026-06.csv").read_text()


def test_the_process_tells_the_story_and_corrects_it_when_asked(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "stax_pipeline.simulator", "--story", str(tmp_path / "papers")]
    day = corrected_day(TODAY)
    child = subprocess.Popen([*command, "--today", f"{TODAY}"], stdout=subprocess.PIPE, text=True)
    with child:
        assert child.stdout is not None
        base_url, *keys = (line.strip() for line in itertools.islice(child.stdout, 3))
        with httpx.Client(base_url=base_url, trust_env=False) as http:
            client = Client(None, Clock(), http, keys[0].partition(" ")[2])  # type: ignore[arg-type]
            first = cents(client, day)
            child.send_signal(signal.SIGUSR1)
            assert child.stdout.readline() == "corrected\n"
            assert first == cents(client, day) * Decimal("0.96")
        child.send_signal(signal.SIGTERM)
    assert child.returncode == 0
    assert sorted(file.name for file in (tmp_path / "papers").iterdir()) == [
        "commitments.csv",
        "invoice-acme-2026-10.csv",
        "invoice-globex-2026-10.csv",
    ]
