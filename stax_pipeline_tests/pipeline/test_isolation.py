"""One tenant's fault is its own: named, kept raw, without the key; everybody else's content is the undisturbed one."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zstandard

from stax_pipeline.domain.errors import CannotStart, StaxError, WrongUse
from stax_pipeline.domain.extraction import Report
from stax_pipeline.lake.raw import RawHeader, read_raw
from stax_pipeline.lake.store import Lake
from stax_pipeline.pipeline import extraction_record
from stax_pipeline.pipeline.isolation import Outcome, reason
from stax_pipeline.simulator import Simulator, faults
from stax_pipeline.simulator.faults import Fault
from stax_pipeline.warehouse.tenants import all_tenants
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
    true_usd,
    two_tenants,
    usd_by_day,
)

ME = "/v1/organizations/me"


def test_what_is_kept_of_a_fault_or_a_finding_draws_on_no_screen() -> None:
    odd = "workspace \x1b[2J\u202e\nis new"
    assert reason(StaxError(odd), "testing") == "workspace \\u001b[2J\\u202e\nis new"
    outcome = Outcome()
    outcome.find("acme", odd)
    assert outcome.findings == {"acme": ["workspace \\u001b[2J\\u202e\nis new"]}


@pytest.fixture(scope="module")
def oracle(stax_home: Path) -> dict[str, list[str]]:
    """What the other tenant's rows are when nothing disturbs."""
    with two_tenants(stax_home) as made:
        sync(made)
        return content(made, "globex")


def _no_key_anywhere(made: Installation, caplog: pytest.LogCaptureFixture) -> None:
    told = "\n".join(str(tuple(row)) for row in query(made, "select * from stax.extractions")) + caplog.text
    objects = [_unpacked(file) for file in (made.home / "lake").rglob("*") if file.is_file()]
    for key in made.simulator.keys.values():
        for piece in (key, key[20:40], key[-16:]):
            assert piece not in told
            assert not any(piece.encode() in data for data in objects)


@pytest.fixture
def made(stax_home: Path, oracle: dict[str, list[str]], caplog: pytest.LogCaptureFixture) -> Iterator[Installation]:
    """Two tenants and debug logging on; afterwards the key is in no error, log line or object of the lake."""
    caplog.set_level(logging.DEBUG)
    with two_tenants(stax_home) as installation:
        yield installation
        _no_key_anywhere(installation, caplog)


def _unpacked(file: Path) -> bytes:
    data = file.read_bytes()
    if file.suffix != ".zst":
        return data
    return zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True).read()


def _endless(page: dict[str, object], token: str) -> None:
    page.update(has_more=True, next_page=token)


def _negative_tokens(page: dict[str, object], _: str) -> None:
    for bucket in page["data"]:  # type: ignore[attr-defined]
        for row in bucket["results"]:
            row["output_tokens"] = -1


Break = Callable[[Simulator, str], None]
BROKEN: dict[str, tuple[Break, str, str]] = {
    "401 on the report": (
        lambda s, key: s.faults.add(faults.status(401), key=key, path=COST, times=None), "401", "key_rejected",
    ),
    "403 of the API": (
        lambda s, key: s.faults.add(faults.status(403), key=key, path=COST, times=None), "403", "key_rejected",
    ),
    "NaN": (lambda s, key: s.faults.add(faults.nan_amount(), key=key, path=COST, times=None), "NaN", "connected"),
    "23 whole digits": (
        lambda s, key: s.faults.add(faults.amounts(lambda _: "9" * 23), key=key, path=COST, times=None),
        "20 whole digits", "connected",
    ),
    "euros": (lambda s, key: s.faults.add(faults.currency(), key=key, path=COST, times=None), "EUR", "connected"),
    "missing amount": (
        lambda s, key: s.faults.add(faults.missing_field("amount"), key=key, path=COST, times=None),
        "amount", "connected",
    ),
    "missing data": (
        lambda s, key: s.faults.add(faults.missing_field("data"), key=key, path=COST, times=None),
        "data is missing", "connected",
    ),
    "endless paging": (
        lambda s, key: s.faults.add(Fault(change=_endless), key=key, path=COST, times=None), "repeats", "connected",
    ),
    "has_more without token": (
        lambda s, key: s.faults.add(faults.has_more_without_token(), key=key, path=COST, times=None),
        "inconsistent paging", "connected",
    ),
    "dollars instead of cents": (
        lambda s, key: s.faults.add(faults.dollars(), key=key, path=COST, times=None), "unit mismatch", "connected",
    ),
    "HTML": (lambda s, key: s.faults.add(faults.html(), key=key, path=COST, times=None), "strange", "connected"),
    # the last one, since the key stays revoked
    "revoked key": (lambda s, key: s.revoke(key), "401", "key_rejected"),
}  # fmt: skip


@pytest.fixture(scope="class")
def synced(stax_home: Path, oracle: dict[str, list[str]]) -> Iterator[Installation]:
    """Both tenants with good rows, for faults that leave them as they are."""
    with two_tenants(stax_home) as installation:
        sync(installation)
        yield installation


@pytest.fixture
def standing(synced: Installation) -> Iterator[Installation]:
    """The same again and again: no faults, no errors, both tenants connected."""
    yield synced
    synced.simulator.faults.clear()
    execute(synced, "delete from stax.extractions where error is not null")
    execute(synced, "update stax.tenants set status = 'connected'")


class TestLastGoodRows:
    @pytest.mark.parametrize("name", BROKEN)
    def test_the_reason_is_recorded_last_good_rows_stay_and_the_other_tenant_is_untouched(
        self, standing: Installation, oracle: dict[str, list[str]], caplog: pytest.LogCaptureFixture, name: str
    ) -> None:
        breaks, words, state = BROKEN[name]
        made = standing
        caplog.set_level(logging.DEBUG)
        good = content(made, "acme")
        assert good["spend"]
        breaks(made.simulator, made.simulator.keys["acme"])
        ran = sync(made, reports=[Report.COST])
        assert list(ran.failures) == ["acme"]
        assert any(words in error for error in errors(made, "acme")), errors(made, "acme")
        assert errors(made, "globex") == []
        assert (status(made, "acme"), status(made, "globex")) == (state, "connected")
        assert content(made, "globex") == oracle
        assert content(made, "acme") == good
        _no_key_anywhere(made, caplog)


@pytest.mark.parametrize("name", ["403 of the API", "NaN", "dollars instead of cents"])
def test_a_first_run_that_fails_publishes_nothing_and_the_next_makes_it_good(
    made: Installation, oracle: dict[str, list[str]], name: str
) -> None:
    breaks, words, _ = BROKEN[name]
    breaks(made.simulator, made.simulator.keys["acme"])
    sync(made)
    assert any(words in error for error in errors(made, "acme"))
    assert usd_by_day(made, "acme", "reported") == {}
    assert query(made, "select 1 from stax.cost_lines join stax.tenants using (tenant_id) where slug = 'acme'") == []
    assert content(made, "globex") == oracle
    made.simulator.faults.clear()
    sync(made, DAYS, "acme")
    assert status(made, "acme") == "connected"
    assert usd_by_day(made, "acme", "reported") == true_usd(made, "acme", DAYS.days[:-1])


class TestRawOfAFailure:
    def test_the_page_that_cannot_be_read_is_kept_with_its_reason(self, made: Installation) -> None:
        made.simulator.faults.add(Fault(change=_negative_tokens), key=made.simulator.keys["acme"], path=USAGE)
        sync(made)
        [row] = query(made, "select * from stax.extractions where error is not null")
        assert row.report == Report.USAGE
        assert row.pages == 1
        header, pages = read_raw(made.lake, row.raw_uri, row.sha256)
        assert header.error == row.error
        assert [page.query for page in pages] == ["all"]
        assert query(made, "select 1 from stax.coverage where extraction_id = :id", id=row.extraction_id) == []

    def test_401_mid_walk_keeps_the_pages_that_came(self, made: Installation) -> None:
        made.simulator.faults.add(faults.status(401), key=made.simulator.keys["acme"], path=USAGE, nth=3, times=None)
        sync(made)
        [row] = query(
            made, "select * from stax.extractions where error is not null and report = 'usage_report'"
        )  # fmt: skip
        assert row.pages == 2
        assert [p.query for p in read_raw(made.lake, row.raw_uri, row.sha256)[1]] == ["all", "fast"]
        assert len([r for r in made.simulator.requests if r.status == 401]) == 1, "a refused key was tried again"
        assert status(made, "acme") == "key_rejected"

    def test_a_refused_key_is_not_tried_again_until_the_tenant_is_named(self, made: Installation) -> None:
        made.simulator.revoke(made.simulator.keys["acme"])
        sync(made)
        asked = len([r for r in made.simulator.requests if r.status == 401])
        sync(made)
        assert len([r for r in made.simulator.requests if r.status == 401]) == asked


class TestWordsOfTheSource:
    def test_a_name_with_a_nul_stops_that_tenant_only(self, made: Installation, oracle: dict[str, list[str]]) -> None:
        other = {"id": "1b2c3d4e-0000-4000-8000-000000000000", "type": "organization", "name": "a\x00b"}
        made.simulator.faults.add(faults.body(other), key=made.simulator.keys["acme"], path=ME, times=None)
        assert list(sync(made).failures) == ["acme"]
        assert "NUL" in errors(made, "acme")[0]
        assert content(made, "globex") == oracle

    @pytest.mark.parametrize("strange", ["nul \x00", "surrogate \ud800", "rtl \u202e tab\t", "x" * 1_000_000])
    def test_strange_text_in_a_row_is_stored_or_refused_whole(
        self, made: Installation, oracle: dict[str, list[str]], strange: str
    ) -> None:
        def rename(page: dict[str, object], _: str) -> None:
            for bucket in page["data"]:  # type: ignore[attr-defined]
                for row in bucket["results"][:1]:
                    row["description"] = strange

        made.simulator.faults.add(Fault(change=rename), key=made.simulator.keys["acme"], path=COST, times=None)
        ran = sync(made)
        assert content(made, "globex") == oracle
        held = query(made, "select description from stax.cost_lines where description = any(:texts)",
                     texts=[strange.replace("\x00", "").replace("\ud800", "")])  # fmt: skip
        if "acme" in ran.failures:
            assert errors(made, "acme") != []
            assert usd_by_day(made, "acme", "reported") == {}
        else:
            assert held != []

    def test_an_error_message_with_odd_characters_is_recorded(
        self, made: Installation, oracle: dict[str, list[str]]
    ) -> None:
        said = {"type": "error", "error": {"type": "invalid_request_error", "message": "no \u202e\x1b[31m\n way"}}
        made.simulator.faults.add(faults.body(said, 400), key=made.simulator.keys["acme"], path=COST, times=None)
        sync(made)
        assert "way" in errors(made, "acme")[0]
        assert content(made, "globex") == oracle

    def test_a_key_repeated_by_the_source_never_lands(self, made: Installation) -> None:
        key = made.simulator.keys["acme"]
        said = {"type": "error", "error": {"type": "invalid_request_error", "message": f"bad header x-api-key: {key}"}}
        made.simulator.faults.add(faults.body(said, 400), key=key, path=COST, times=None)
        made.simulator.faults.add(faults.body({"data": [], "echo": key}), key=key, path=USAGE, times=None)
        sync(made)
        assert len(errors(made, "acme")) == 2


class TestOthers:
    @pytest.mark.parametrize("fault", [RuntimeError("odd"), OSError(28, "No space left on device")])
    def test_an_unexpected_error_in_keeping_stops_one_tenant_a_full_disk_the_run(
        self, made: Installation, oracle: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch, fault: Exception
    ) -> None:
        real = extraction_record.store_raw
        [acme] = query(made, "select tenant_id from stax.tenants where slug = 'acme'")

        def broken(lake: Lake, header: RawHeader, data: bytes) -> tuple[str, str]:
            if header.tenant_id == acme.tenant_id:
                raise fault
            return real(lake, header, data)

        monkeypatch.setattr(extraction_record, "store_raw", broken)
        if isinstance(fault, OSError):
            with pytest.raises(CannotStart, match="lake cannot be written: No space left"):
                sync(made)
        else:
            assert list(sync(made).failures) == ["acme"]
            assert content(made, "globex") == oracle

    def test_a_key_of_another_organisation_is_refused(self, made: Installation) -> None:
        execute(made, "update stax.tenants set organization_id = 'someone-else' where slug = 'acme'")
        sync(made)
        assert "another organisation" in errors(made, "acme")[0]
        assert content(made, "acme")["spend"] == []

    def test_a_sealed_key_moved_to_another_row_does_not_open(self, made: Installation) -> None:
        execute(
            made,
            "update stax.admin_keys a set ciphertext = b.ciphertext, wrapped_data_key = b.wrapped_data_key "
            "from stax.admin_keys b join stax.tenants t on t.tenant_id = b.tenant_id and t.slug = 'globex' "
            "where a.tenant_id <> b.tenant_id",
        )
        sync(made)
        assert errors(made, "globex") == []
        assert len(errors(made, "acme")) == 3

    def test_an_unknown_tenant_is_refused_before_anything_runs(self, made: Installation) -> None:
        with pytest.raises(WrongUse, match="nobody"):
            sync(made, DAYS, "nobody")
        assert len(made.simulator.requests) == 0

    def test_outcome_counts_tenants(self, made: Installation) -> None:
        made.simulator.revoke(made.simulator.keys["acme"])
        with made.engine.connect() as connection:
            outcome = fetch(made, Report.COST, all_tenants(connection))
        assert (outcome.tenants, outcome.succeeded, list(outcome.failures)) == (2, 1, ["acme"])
