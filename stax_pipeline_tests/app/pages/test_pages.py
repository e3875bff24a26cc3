"""What the pages say: the same dollars as SQL says, hostile names as text, what needs a person first."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal

import pytest

from stax_pipeline.app import static_files, wording
from stax_pipeline.app.headers import POLICY
from stax_pipeline_tests.app.conftest import PUBLIC, Visit
from stax_pipeline_tests.conftest import Installation
from stax_pipeline_tests.pipeline.support import execute, query

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{ 7*7 }}"
MONTH = """
    select sum(billed_usd), sum(priority_reconstructed_usd), sum(estimated_usd), sum(total_usd) from stax.spend_summary
    where tenant = '{}' and usage_date >= '2026-11-01'"""


def text_of(page: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))


@pytest.mark.parametrize("slug", ["acme", "globex"])
def test_the_tiles_say_what_sql_says(two: Installation, visit: Visit, slug: str) -> None:
    page = text_of(visit().get(f"/tenants/{slug}").text)
    [(billed, reconstructed, estimated, total)] = query(two, MONTH.format(slug))
    assert billed and reconstructed and estimated
    assert f"Month to date {wording.dollars(total)}" in page
    assert f"Billed {wording.dollars(billed)}" in page
    assert f"priority-reconstructed {wording.dollars(reconstructed)}" in page
    assert f"Estimated {wording.dollars(estimated)}" in page
    assert "Usage through 11:55 UTC (10 minutes ago) · billed dollars through 21 Nov" in page


@pytest.mark.parametrize("slug", ["acme", "globex"])
def test_the_drawn_bars_sum_to_the_headline_and_to_sql(two: Installation, visit: Visit, slug: str) -> None:
    page = visit().get(f"/tenants/{slug}").text
    drawn = sum(map(Decimal, re.findall(r'data-usd="([^"]+)"', page)), Decimal(0))
    [(*_, total)] = query(two, MONTH.format(slug))
    assert drawn == total
    assert f"The last 30 days (UTC): {wording.dollars(total)}" in page


def test_reconstructed_dollars_are_hatched_and_worded(visit: Visit) -> None:
    page = visit().get("/tenants/acme").text
    assert re.search(r'fill="url\(#spend-r\d\)" data-usd="[^"]+"[^>]*><title>[^<]* · priority-reconstructed · \$', page)


def test_days_without_data_are_no_zeros(visit: Visit) -> None:
    page = visit().get("/tenants/acme").text
    assert 'aria-label="18 Nov: $0.00, not read"' in page
    assert re.search(r'aria-label="20 Nov: \$[\d,.]+"', page)
    assert re.search(r'aria-label="22 Nov: \$[\d,.]+, not complete yet"', page)


def test_the_overview_has_every_tenant_and_the_sum(two: Installation, visit: Visit) -> None:
    page = text_of(visit().get("/").text)
    [(total,)] = query(two, "select sum(total_usd) from stax.spend_summary where usage_date >= '2026-11-01'")
    assert f"1–22 Nov (UTC): {wording.dollars(total)} over 2 tenants" in page
    for slug in ("acme", "globex"):
        for usd in query(two, MONTH.format(slug))[0]:
            assert wording.dollars(usd) in page


def test_operators_are_led_to_the_run_that_fetched_last(two: Installation, visit: Visit) -> None:
    [(run,)] = query(two, "select run_id from stax.extractions order by recorded_at desc limit 1")
    assert f'<a href="/dagster/runs/{run}">Last run</a>' in visit().get("/tenants/acme").text


class TestTrouble:
    @pytest.fixture
    def rejected(self, two: Installation) -> Iterator[None]:
        execute(two, "update stax.tenants set status = 'key_rejected' where slug = 'globex'")
        yield
        execute(two, "update stax.tenants set status = 'connected' where slug = 'globex'")

    def test_what_needs_a_person_comes_first_with_what_to_do(self, rejected: None, visit: Visit) -> None:
        page = visit().get("/").text
        assert page.index("/tenants/globex") < page.index("/tenants/acme")
        assert "needs attention" in page
        for shown in (page, visit().get("/tenants/globex").text):
            assert "Anthropic rejects the admin key; nothing more is fetched with it." in shown
            assert "<code>stax rotate-key globex</code>" in shown
        assert 'href="/providers/anthropic/connect?tenant=globex">Give it a new key' in shown
        assert "Anthropic rejects" not in visit().get("/tenants/acme").text
        assert "new key" not in visit().get("/tenants/acme").text

    @pytest.fixture
    def failed(self, two: Installation) -> Iterator[None]:
        execute(two, "insert into stax.extractions (extraction_id, tenant_id, report, window_start, window_end, "
                "extracted_at, pages, rows, sha256, run_id, error) select gen_random_uuid(), tenant_id, 'cost_report', "
                "'2026-11-20', '2026-11-21', now(), 0, 0, '', 'r', 'no answer after 5 tries' from stax.tenants "
                "where slug = 'acme'")  # fmt: skip
        yield
        execute(two, "delete from stax.extractions where run_id = 'r'")

    def test_a_failed_fetch_is_told_in_the_words_of_the_command_line(self, failed: None, visit: Visit) -> None:
        page = text_of(visit().get("/tenants/acme").text)
        assert "The last cost_report failed: no answer after 5 tries" in page
        assert "The next sync tries again; stax sync acme does so now." in page

    def test_an_open_alert_is_told(self, two: Installation, visit: Visit) -> None:
        execute(two, "insert into stax.alerts (tenant_id, kind, subject, opened_at, what, todo, last_seen_at, "
                "notified_by, resolution_notified_by) select tenant_id, 'spend_spike', '', now(), 'Much more.', "
                "'Look.', now(), '', '' from stax.tenants where slug = 'acme'")  # fmt: skip
        assert "Much more." in visit().get("/tenants/acme").text
        execute(two, "update stax.alerts set resolved_at = now()")
        assert "Much more." not in visit().get("/tenants/acme").text
        execute(two, "delete from stax.alerts")


def test_a_tenant_without_data_says_so(two: Installation, visit: Visit) -> None:
    execute(two, "insert into stax.tenants values (gen_random_uuid(), 'new', 'New', 'o', 'connected', now())")
    page = text_of(visit().get("/tenants/new").text)
    assert "No data yet" in page
    assert "The first sync fetches the last 30 days" in page
    execute(two, "delete from stax.tenants where slug = 'new'")


@pytest.fixture
def hostile(two: Installation) -> Iterator[None]:
    named = HOSTILE.replace("'", "''")
    execute(two, f"update stax.tenants set name = '{named}' where slug = 'acme'")
    execute(two, f"update stax.spend set model = '{named}' || model where usage_date = '2026-11-20'")
    yield
    execute(two, "update stax.tenants set name = 'Acme' where slug = 'acme'")
    execute(two, f"update stax.spend set model = replace(model, '{named}', '') where usage_date = '2026-11-20'")


def test_hostile_names_are_text(hostile: None, visit: Visit) -> None:
    for path in ("/", "/tenants/acme"):
        page = visit().get(path).text
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
        assert "<script" not in page
        assert "<img" not in page
        assert "49" not in re.findall(r"<h1>[^<]*", page)[0]


class TestHeaders:
    @pytest.mark.parametrize("path", ["/", "/tenants/acme", "/tenants/nobody", "/login", "/nowhere", "/health"])
    def test_every_answer_of_ours_is_closed(self, visit: Visit, path: str) -> None:
        for client in (visit(), visit(public_url=PUBLIC)):
            said = client.get(path).headers
            assert said["content-security-policy"] == POLICY
            assert said["cache-control"] == "no-store"
            assert said["x-content-type-options"] == "nosniff"
            assert said["x-frame-options"] == "DENY"

    def test_the_policy_lets_nothing_in_but_our_own_files(self) -> None:
        rules = dict(rule.split(" ", 1) for rule in POLICY.split("; "))
        assert rules["default-src"] == "'none'"
        assert rules["frame-ancestors"] == "'none'"
        assert set(rules.values()) == {"'none'", "'self'"}

    @pytest.mark.parametrize("path", ["/", "/tenants/acme", "/login"])
    def test_a_page_has_no_script_no_inline_style_and_no_address_elsewhere(self, visit: Visit, path: str) -> None:
        page = visit(public_url=PUBLIC).get(path).text + visit().get(path).text
        assert not re.search(r"<script|<style|\sstyle=|\son\w+=|javascript:", page)
        assert not [one for one in re.findall(r'(?:src|href|action)="([^"]*)"', page) if not one.startswith(("/", "#"))]

    def test_a_refusal_before_any_page_is_closed_too(self, visit: Visit) -> None:
        answer = visit().get("/", headers={"Host": "evil.example"})
        assert (answer.status_code, answer.headers["content-security-policy"]) == (400, POLICY)


class TestStaticFiles:
    def test_the_style_is_the_one_that_the_page_names(self, visit: Visit) -> None:
        client = visit(public_url=PUBLIC)
        page = client.get("/login").text
        found = re.search(
            r'<link rel="stylesheet" href="(/static/app\.[0-9a-f]{16}\.css)" integrity="(sha384-[^"]+)">', page
        )
        assert found
        answer = client.get(found[1])
        assert answer.headers["content-type"] == "text/css; charset=utf-8"
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert found[2] == static_files.integrity("app.css")
        assert "@import" not in answer.text
        assert "://" not in answer.text

    @pytest.mark.parametrize("name", ["app.css", "app.0000000000000000.css", "..%2fforms.py", "%2e%2e/forms.py"])
    def test_nothing_else_is_served(self, visit: Visit, name: str) -> None:
        assert visit().get(f"/static/{name}").status_code == 404


def test_a_fault_of_ours_tells_nothing_of_itself(visit: Visit, caplog: pytest.LogCaptureFixture) -> None:
    client = visit()

    def broken() -> None:
        raise ValueError("-".join(("sk", "hidden")))

    client.app.state.now = broken  # type: ignore[attr-defined]
    answer = client.get("/")
    assert answer.status_code == 500
    assert "Something broke" in answer.text
    assert answer.headers["content-security-policy"] == POLICY
    assert "sk-hidden" not in answer.text + caplog.text
    assert "overview.py" in caplog.text
