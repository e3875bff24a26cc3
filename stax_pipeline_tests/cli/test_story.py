"""Connect, sync, query: what an operator does on the first day, and what they see at each step."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import psycopg2
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from stax_pipeline.cli.commands import keys
from stax_pipeline.installation.settings import Settings
from stax_pipeline.pricing.prices import Retirement, retirements
from stax_pipeline.simulator import Simulator
from stax_pipeline.warehouse.engine import connect_engine
from stax_pipeline.warehouse.roles import logins
from stax_pipeline_tests.cli.support import Ended, Stax
from stax_pipeline_tests.tenants.support import count

pytestmark = pytest.mark.usefixtures("with_data_today")


def today() -> date:
    return datetime.now(UTC).date()


@pytest.fixture
def connected(stax: Stax, simulator: Simulator, settings: Settings) -> Ended:
    """acme, connected with two complete days and the open one."""
    return stax("connect", "acme", "--key-file", "-", "--days", "2", typed=f"  {simulator.keys['acme']}\n")


def dollars(stax: Stax, query: str) -> Decimal:
    rows = list(csv.reader(io.StringIO(stax("sql", query, "--format", "csv").out)))
    return Decimal(rows[1][0])


def test_connect_tells_each_step_and_fetches_the_first_days(
    connected: Ended, stax: Stax, engine: sa.Engine, simulator: Simulator
) -> None:
    assert connected.code == 0, connected.err
    steps = [
        "right shape",
        "Asking Anthropic",
        "Accepted",
        "AES-256-GCM",
        "Backfilling 2 complete days",
        "data through",
    ]
    places = [connected.out.index(step) for step in steps]
    assert places == sorted(places)
    headings = r"billed \$ +of it credits \$ +priority reconstructed \$ +estimated \$ +total \$"
    assert re.search(rf"tenant +days +rows +{headings} +tokens +data through", connected.out)
    assert re.search(r"acme +3 +[\d,]+ +[\d,]+\.\d\d +0\.00 +[\d,]+\.\d\d", connected.out)
    assert "tenants" in connected.err  # progress counts tenants
    assert simulator.keys["acme"] not in connected.said
    assert count(engine, "tenants", "first_sync_run_id is not null") == 1

    reported = dollars(stax, "select sum(cost_usd) from spend where cost_source = 'reported'")
    assert reported > 0
    assert reported == dollars(stax, "select sum(amount_usd) from cost_lines")
    assert dollars(stax, "select sum(cost_usd) from spend where cost_source = 'priority-reconstructed'") > 0

    status = json.loads(stax("status", "--json").out)
    assert [(one["tenant"], one["status"]) for one in status] == [("acme", "connected")]
    assert status[0]["complete_through"] == str(today() - timedelta(days=1))
    assert status[0]["last_error"] is None
    shown = stax("status").out
    assert "minutes ago" in shown
    assert re.search(rf"The last 30 complete days and today \(USD\):\ntenant +{headings}\n", shown)
    told = {name: Decimal(usd) for name, usd in status[0]["dollars"].items()}
    assert list(told) == ["billed_usd", "credits_usd", "priority_reconstructed_usd", "estimated_usd", "total_usd"]
    assert (told["billed_usd"], told["credits_usd"]) == (reported, 0)
    assert told["total_usd"] == reported + told["priority_reconstructed_usd"] + told["estimated_usd"]
    assert told["total_usd"] == dollars(stax, "select sum(total_usd) from spend_summary where tenant = 'acme'")
    assert f"…{simulator.keys['acme'][-4:]}" in stax("tenants").out
    assert stax("verify").code == 0
    assert stax("prices", "check").code == 0


@pytest.mark.usefixtures("connected")
def test_what_anthropic_retires_soon_is_named_with_its_users(stax: Stax, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = json.loads(
        stax("sql", "select distinct model, speed from usage_tokens where tokens > 0", "--format", "json").out
    )
    fast = next(row["model"] for row in rows if row["speed"] == "fast")
    slow = next(row["model"] for row in rows if row["model"] not in {r["model"] for r in rows if r["speed"] == "fast"})
    soon, later = today() + timedelta(days=59), today() + timedelta(days=90)
    ending = [
        Retirement(fast, "fast", soon, "made up"),
        Retirement(slow, "standard", soon, "made up"),
        Retirement(slow, "fast", soon, "made up"),
        Retirement("claude-3-opus-20240229", "standard", later, "made up"),
    ]
    monkeypatch.setattr(retirements, "shipped_retirements", lambda: ending)
    ended = stax("prices", "check")
    assert ended.code == 0
    told = [line.split() for line in ended.out.splitlines() if str(soon) in line]
    assert sorted(told) == sorted(
        [[fast, "fast", str(soon), "acme"], [slow, "all", str(soon), "acme"], [slow, "fast", str(soon), "nobody"]]
    )
    assert "claude-3-opus" not in ended.out.partition("retires within 60 days")[2].partition("\n\n")[0]


@pytest.mark.usefixtures("connected")
def test_sync_reads_a_range_again_and_changes_nothing_while_readers_hold_every_connection_of_theirs(
    stax: Stax, engine: sa.Engine, settings: Settings
) -> None:
    content = "select sum(cost_usd)::text || count(*)::text from stax.spend"
    with engine.connect() as connection:
        before = connection.exec_driver_sql(content).scalar_one()
    first, last = str(today() - timedelta(days=2)), str(today() - timedelta(days=1))
    admin = connect_engine(logins(settings).admin)
    with admin.begin() as connection:
        connection.exec_driver_sql("alter role stax_analyst connection limit 0")
    try:
        ended = stax("sync", "acme", "--from", first, "--to", last)
    finally:
        with admin.begin() as connection:
            connection.exec_driver_sql("alter role stax_analyst connection limit 40")
        admin.dispose()
    assert ended.code == 0, ended.err
    assert "acme" in ended.out
    assert count(engine, "extractions", "report = 'cost_report' and error is null") == 2
    with engine.connect() as connection:
        assert connection.exec_driver_sql(content).scalar_one() == before


@pytest.mark.usefixtures("connected")
def test_one_outage_is_one_line_for_all_tenants_and_names_the_host(
    stax: Stax, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert stax("connect", "globex", "--key-file", "-", "--no-sync", typed=simulator.keys["globex"]).code == 0
    monkeypatch.setenv("STAX_ANTHROPIC_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setattr("stax_pipeline.anthropic.retry.BASE_SECONDS", 0.0)
    ended = stax("sync", "--days", "1")
    assert ended.code == 1
    [line] = re.findall(r"^failed: .*Admin API.*$", ended.err, re.MULTILINE)
    assert line.startswith("failed: 2 tenants (acme, globex): cost_report, organization, usage_report: ")
    assert "Admin API at 127.0.0.1:9 did not answer to GET /v1/organizations/me: no connection" in line
    assert line.endswith("The next sync tries again; `stax sync SLUG` does so now.")
    assert re.search(r"^Run \S+ failed for 2 of 2 tenants\.$", ended.err, re.MULTILINE)
    done = dict(re.findall(r"^  (extracting \w+|publishing (?:cost|usage)): (.*)$", ended.err, re.MULTILINE))
    assert {stage: re.sub(r" of \d+ pages", "", words) for stage, words in done.items()} == {
        f"extracting {report}": "0, 2 tenants failed" for report in ("cost_report", "usage_report", "organization")
    }, "nothing is done, and what has nothing to publish tells nothing"
    assert "building spend" not in ended.err, "nothing came: what was built stands"
    assert "comparing sources" not in ended.err, "nobody compares"
    shown = stax("status").out
    assert len(re.findall(r"^last error of 2 tenants \(acme, globex\): .*127\.0\.0\.1:9", shown, re.MULTILINE)) == 1
    assert shown.count("did not answer") == 1
    assert "what to do about 2 tenants (acme, globex): " in shown


@pytest.mark.usefixtures("connected")
def test_a_failed_tenant_is_named_with_its_reason_and_the_others_go_on(
    stax: Stax, simulator: Simulator, engine: sa.Engine
) -> None:
    assert stax("connect", "globex", "--key-file", "-", "--no-sync", typed=simulator.keys["globex"]).code == 0
    simulator.revoke(simulator.keys["acme"])
    ended = stax("sync", "--days", "1")
    assert ended.code == 1
    [told] = re.findall(r"^failed: tenant acme: .*$", ended.err, re.MULTILINE)
    assert told.startswith("failed: tenant acme: cost_report, organization, usage_report: Anthropic answered 401")
    assert "then `stax rotate-key acme`." in told
    assert "tries again" not in ended.err
    assert re.search(r"^acme \*", ended.out, re.MULTILINE) and re.search(r"^globex  ", ended.out, re.MULTILINE)
    assert "* not all of this run" in ended.out
    assert re.search(r"^  extracting cost_report: 1 of 2 pages, 1 tenant failed$", ended.err, re.MULTILINE)
    assert not re.search(r"^  .*: (\d+) of \1 .*failed", ended.err, re.MULTILINE)
    assert "failed: tenant globex" not in ended.err
    assert count(engine, "spend", "tenant_id = (select tenant_id from stax.tenants where slug = 'globex')") > 0
    assert re.search(
        r"last error of acme: .*401.*\nwhat to do about acme: .*`stax rotate-key acme`", stax("status").out
    )

    assert stax("disconnect", "globex", "--yes").code == 0
    globex = json.loads(stax("status", "--json").out)[1]
    assert (globex["status"], globex["complete_through"]) == ("disconnected", str(today() - timedelta(days=1)))
    assert globex["usage_data_through"]
    assert stax("connect", "globex", "--no-sync", typed=simulator.keys["globex"]).code == 0

    left_out = stax("sync", "--days", "1")
    assert left_out.code == 1
    [told] = re.findall(r"^Left out: tenant acme: .*$", left_out.err, re.MULTILINE)
    assert "Anthropic rejected the key in an earlier run." in told and "`stax rotate-key acme`" in told
    assert re.search(
        r"^check: all_tenants_extracted \(ERROR\): failed for 1 of 2 tenants: acme$", left_out.err, re.MULTILINE
    )
    assert re.search(r"^Run \S+ failed for 1 of 2 tenants\.$", left_out.err, re.MULTILINE)
    assert stax("sync", "globex", "--days", "1").code == 0, "a run of named tenants leaves nobody out"

    simulator.revoke(simulator.keys["globex"])
    both = stax("sync", "--days", "1")
    assert both.code == 1
    assert "all_tenants_extracted (ERROR): failed for 2 of 2 tenants: acme, globex" in both.err
    assert re.search(r"^Run \S+ failed for 2 of 2 tenants\.$", both.err, re.MULTILINE)

    asked = len(simulator.requests)
    nobody = stax("sync")
    assert nobody.code == 1
    assert "Left out: 2 tenants (acme, globex): Anthropic rejected the key in an earlier run." in nobody.err
    assert "`stax rotate-key SLUG`" in nobody.err
    assert nobody.err.splitlines()[-1] == "stax: No sync was started: no tenant has a key that Anthropic accepts."
    assert "stax connect" not in nobody.err
    assert len(simulator.requests) == asked
    simulator.issue_key("acme")
    rotated = stax("rotate-key", "acme", "--key-file", "-", typed=simulator.keys["acme"])
    assert rotated.code == 0
    assert "generation 2" in rotated.out


@pytest.mark.usefixtures("connected")
def test_without_the_master_key_figures_are_read_and_nothing_is_fetched_or_invented(
    stax: Stax, simulator: Simulator, settings: Settings
) -> None:
    file = settings.home / "master.key"
    file.unlink()
    for reads in (("status",), ("tenants",), ("sql", "select count(*) from spend"), ("export", "spend"), ("verify",)):
        assert stax(*reads).code == 0, reads
    asked = len(simulator.requests)
    for typed, needs in (("", ("sync", "--days", "1")), (simulator.keys["globex"], ("connect", "globex"))):
        refused = stax(*needs, typed=typed)
        assert refused.code == 3, needs
        assert "master key" in refused.err
    assert len(simulator.requests) == asked
    assert not file.exists()


@pytest.mark.usefixtures("connected")
def test_verify_names_a_changed_raw_page_and_a_changed_figure(
    stax: Stax, settings: Settings, engine: sa.Engine
) -> None:
    raw = next(Path(settings.lake).glob("raw/cost_report/*/*/*.zst"))
    raw.write_bytes(raw.read_bytes() + b"x")
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "update stax.spend set cost_usd = cost_usd + 1 where cost_source = 'reported' and line = "
            "(select max(line) from stax.spend where cost_source = 'reported')"
        )
    parquet = next(Path(settings.lake).glob("usage_lines/*/*/*.parquet"))
    parquet.write_bytes(b"")
    ended = stax("verify")
    assert "failed: parquet_holds_the_rows: table usage_lines, usage_date " in ended.err
    assert ended.code == 1
    assert re.search(r"failed: raw_objects_hold_their_hash: tenant acme: raw/.* does not have the hash", ended.err)
    assert re.search(r"failed: spend_ties_to_cost_lines: tenant acme, usage_date \d{4}-\d\d-\d\d, ", ended.err)
    assert re.search(r"parquet_holds_the_rows: table spend, usage_date \S+: the file does not hold", ended.err)
    days = re.findall(r"parquet_holds_the_rows: table \w+, usage_date (\S+): ", ended.err)
    assert f"parquet_holds_the_rows: `stax replay --from {min(days)} --to {max(days)}` writes these files" in ended.err
    told = [int(count) for count in re.findall(r"^\w+: (\d+) violations?$", ended.out, re.MULTILINE)]
    warned = len(set(re.findall(r"^warning: (\w+)", ended.err, re.MULTILINE)))
    assert warned == 0
    assert ended.err.splitlines()[-1] == f"{len(told)} rules broken, {sum(told)} violations."


@pytest.mark.usefixtures("connected")
def test_what_is_odd_about_one_tenants_objects_is_that_tenants_finding(
    stax: Stax, settings: Settings, engine: sa.Engine
) -> None:
    """A folder in an object's place, and a path out of the lake, which only a forged backup can hold."""
    for report in ("cost_report", "usage_report"):
        file = next(Path(settings.lake).glob(f"raw/{report}/*/*/*.zst"))
        file.unlink()
        file.mkdir()
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "update stax.extractions set raw_uri = '../../' || raw_uri where report = 'usage_report'"
        )
    ended = stax("verify")
    assert ended.code == 1
    assert re.search(r"objects_hold_their_hash: tenant acme: .*cost_report.* cannot be read: Is a directory", ended.err)
    assert re.search(r"objects_hold_their_hash: tenant acme: '\.\./\.\./raw/.* is not a path in the lake", ended.err)
    assert "usage_lines_tie_to_report: tenant acme: " in ended.err
    assert "price_book_matches_bill: holds" in ended.out  # every rule was looked at
    assert "unexpected" not in ended.said


@pytest.mark.usefixtures("connected")
def test_purge_removes_one_tenant_and_leaves_the_other_as_it_was(
    stax: Stax, settings: Settings, simulator: Simulator, engine: sa.Engine
) -> None:
    assert stax("connect", "globex", "--key-file", "-", "--days", "1", typed=simulator.keys["globex"]).code == 0
    globex = _content(engine, "globex")
    with engine.connect() as connection:
        tenant_id = connection.exec_driver_sql("select tenant_id from stax.tenants where slug = 'acme'").scalar_one()

    asked = stax("disconnect", "acme", "--purge", typed="y\n")
    assert asked.code == 2
    assert "for good? This needs --yes without a terminal. Nothing was changed." in asked.err
    assert count(engine, "tenants") == 2
    ended = stax("disconnect", "acme", "--purge", "--yes")

    assert ended.code == 0, ended.err
    assert "no row, no raw object and no Parquet row of tenant acme is left" in ended.out
    assert re.search(r"Looked for [1-9][\d,]* workspaces, keys, models and figures of it", ended.out)
    assert _content(engine, "globex") == globex
    assert not list(Path(settings.lake).glob(f"raw/*/tenant={tenant_id}*"))
    for file in Path(settings.lake).glob("spend/*/*/*.parquet"):
        assert str(tenant_id) not in pq.read_table(file).column("tenant_id").to_pylist()
    assert stax("verify").code == 0


@pytest.mark.usefixtures("connected")
def test_a_purge_finds_what_dagster_s_history_and_logs_still_hold(
    stax: Stax, settings: Settings, engine: sa.Engine
) -> None:
    """Planted as an event and a log line: each is named, and the purge is no success."""
    with engine.connect() as connection:
        mark = connection.exec_driver_sql(
            "select workspace_id from stax.workspaces where length(workspace_id) > 8 limit 1"
        ).scalar_one()
    log = settings.home / "dagster" / "planted.log"
    log.write_text(f"odd: {mark}")
    admin = connect_engine(logins(settings).admin)
    with admin.begin() as connection:
        connection.exec_driver_sql(
            f"insert into dagster.event_logs (run_id, event, timestamp) values ('planted', 'odd: {mark}', now())"
        )
    try:
        ended = stax("disconnect", "acme", "--purge", "--yes")
    finally:
        log.unlink()
        with admin.begin() as connection:
            connection.exec_driver_sql("delete from dagster.event_logs where run_id = 'planted'")
        admin.dispose()
    assert ended.code == 1
    assert "failed: tenant acme: 1 in Dagster's event_logs name its data." in ended.err
    assert f"1 in {log} name its data." in ended.err


@pytest.mark.usefixtures("connected")
def test_a_purge_that_is_run_again_after_a_kill_still_looks_for_the_same(
    stax: Stax, settings: Settings, engine: sa.Engine
) -> None:
    """Killed when the tenant's rows were gone, and with them all that named it."""
    with engine.connect() as connection:
        mark = connection.exec_driver_sql(
            "select workspace_id from stax.workspaces where length(workspace_id) > 8 limit 1"
        ).scalar_one()
    log = settings.home / "stax.log"
    before = log.read_text() if log.exists() else ""
    keys._purge(settings, engine, "acme")
    assert count(engine, "tenants", "slug = 'acme'") == 0
    log.write_text(f"{before}odd: {mark}")
    assert stax("disconnect", "acme", "--purge", "--yes").code == 1
    log.write_text(before)
    again = stax("disconnect", "acme", "--purge", "--yes")
    assert again.code == 0, again.err
    assert re.search(r"Looked for [1-9][\d,]* workspaces", again.out)
    assert not list((settings.home / "purges").iterdir())


@pytest.mark.usefixtures("connected")
def test_the_key_is_nowhere_in_what_was_written(settings: Settings, simulator: Simulator) -> None:
    secret = simulator.keys["acme"]
    needles = {secret[at : at + 12].encode() for at in range(15, len(secret) - 12)}
    for file in settings.home.rglob("*"):
        if file.is_file() and not file.is_symlink():
            content = file.read_bytes()
            assert not any(needle in content for needle in needles), file


def test_url_is_the_analysts_and_cannot_write(stax: Stax, settings: Settings) -> None:
    password = (settings.home / "passwords" / "stax_analyst").read_text()
    shown = stax("url", "--with-password").out.strip()
    assert shown.startswith(f"postgresql://stax_analyst:{password}@")
    address = stax("url").out.strip()
    assert address.startswith("postgresql://stax_analyst@")
    assert password not in address
    with psycopg2.connect(address) as connection, connection.cursor() as cursor:
        cursor.execute("select count(*) from tenants")
        assert cursor.fetchone() == (0,)
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            cursor.execute("delete from stax.tenants")
    connection.close()
    (settings.postgres_home / "pinned").unlink()


def _content(engine: sa.Engine, slug: str) -> str:
    query = sa.text(
        "select s::text from stax.spend s join stax.tenants t using (tenant_id) where slug = :slug order by 1"
    )
    with engine.connect() as connection:
        rows = "\n".join(row[0] for row in connection.execute(query, {"slug": slug}))
    assert rows
    return hashlib.sha256(rows.encode()).hexdigest()
