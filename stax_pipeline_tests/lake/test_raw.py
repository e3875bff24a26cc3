"""Raw objects: pages come back word for word, damage is noticed, two of one second both stay, no key inside."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from uuid import UUID

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from stax_pipeline.domain.extraction import QueryName, RawPage, Report, Window
from stax_pipeline.lake.raw import RawDamaged, RawHeader, RawWriter, read_raw, store_raw
from stax_pipeline.lake.store import Lake

NOW = datetime(2026, 11, 22, 12, 0, 5, tzinfo=UTC)
TENANT = UUID("00000000-0000-4000-8000-000000000002")


def page(number: int = 1, body: str = '{"data": []}') -> RawPage:
    return RawPage(
        query=QueryName.COST, page_number=number, path="/v1/organizations/cost_report",
        params=(("group_by[]", "workspace_id"), ("group_by[]", "description")),
        request_headers={"anthropic-version": "2023-06-01"}, status=200, request_id=f"req_{number}", server_date=NOW,
        sent_at=NOW, received_at=NOW, rows=0, sha256=hashlib.sha256(body.encode()).hexdigest(), body=body,
    )  # fmt: skip


HEADER = RawHeader(
    UUID(int=1), TENANT, "org", Report.COST, Window(date(2026, 11, 20), date(2026, 11, 22)), NOW, (QueryName.COST,),
    "run", "stax-pipeline 0", None,
)  # fmt: skip


def stored(lake: Lake, *pages: RawPage, header: RawHeader = HEADER) -> tuple[str, str]:
    writer = RawWriter()
    for one in pages:
        writer.add(one)
    return store_raw(lake, header, writer.finish(header))


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(str(tmp_path / "lake"))


class TestRoundTrip:
    def test_header_and_pages_come_back(self, lake: Lake) -> None:
        pages = [page(1, '{"a": "é\\n\\u0000"}'), page(2, "line\none\r\ntwo")]
        for header in (HEADER, replace(HEADER, error="stopped", queries=())):
            path, digest = stored(lake, *pages, header=header)
            found, read = read_raw(lake, path, digest)
            assert found == header
            assert list(read) == pages

    @settings(max_examples=15, deadline=None)
    @given(bodies=st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=4))
    def test_any_body_survives(self, tmp_path_factory: pytest.TempPathFactory, bodies: list[str]) -> None:
        lake = Lake(str(tmp_path_factory.getbasetemp() / "bodies"))
        pages = [page(number, body) for number, body in enumerate(bodies, start=1)]
        assert list(read_raw(lake, *stored(lake, *pages))[1]) == pages

    def test_the_path_says_report_tenant_window_and_moment(self, lake: Lake) -> None:
        path, _ = stored(lake, page())
        assert path == f"raw/cost_report/tenant={TENANT}/2026-11-20_2026-11-22/20261122T120005Z.jsonl.zst"

    def test_two_of_the_same_second_both_stay(self, lake: Lake) -> None:
        first, second = stored(lake, page(1)), stored(lake, page(2))
        assert second[0].endswith("20261122T120005Z-2.jsonl.zst")
        assert [p.page_number for p in read_raw(lake, *first)[1]] == [1]
        assert [p.page_number for p in read_raw(lake, *second)[1]] == [2]


class TestDamage:
    def test_every_flipped_byte_is_noticed(self, lake: Lake, tmp_path: Path) -> None:
        path, digest = stored(lake, page())
        file = tmp_path / "lake" / path
        good = file.read_bytes()
        for at in range(0, len(good), 17):
            file.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
            with pytest.raises(RawDamaged, match="hash"):
                read_raw(lake, path, digest)

    @pytest.mark.parametrize("damage", [lambda _: b"", lambda _: b"not zstd at all"])
    def test_a_wrong_object_with_a_matching_hash_is_still_damaged(
        self, lake: Lake, tmp_path: Path, damage: Callable[[bytes], bytes]
    ) -> None:
        path, _ = stored(lake, page(body="x" * 500))
        file = tmp_path / "lake" / path
        file.write_bytes(damage(file.read_bytes()))
        with pytest.raises(RawDamaged):
            list(read_raw(lake, path, hashlib.sha256(file.read_bytes()).hexdigest())[1])

    def test_a_page_that_is_not_its_hash_is_noticed(self, lake: Lake) -> None:
        path, digest = stored(lake, replace(page(), body="tampered"))
        with pytest.raises(RawDamaged, match="page 1 of cost"):
            list(read_raw(lake, path, digest)[1])

    @pytest.mark.parametrize("written", ["1", "3", '"2"', "null"])
    def test_another_format_is_refused_by_name_before_anything_of_it_is_read(
        self, lake: Lake, tmp_path: Path, written: str
    ) -> None:
        path, _ = stored(lake, page())
        file = tmp_path / "lake" / path
        lines = zstandard.ZstdDecompressor().stream_reader(file.read_bytes(), read_across_frames=True).read()
        assert lines.count(b'"format":2') == 1
        older = lines.replace(b'"format":2', f'"format":{written}'.encode()).replace(b'"queries"', b'"readings"')
        file.write_bytes(zstandard.compress(older))
        with pytest.raises(RawDamaged, match="in format .* of raw pages, and this .* reads format 2 only.*stax sync"):
            read_raw(lake, path, hashlib.sha256(file.read_bytes()).hexdigest())


def test_the_first_line_describes_the_object_and_holds_no_key(lake: Lake) -> None:
    path, _ = stored(lake, page())
    lines = zstandard.ZstdDecompressor().stream_reader(lake.get(path), read_across_frames=True).read().splitlines()
    assert lines[0].startswith(b'{"extraction":')
    assert b"x-api-key" not in b"".join(lines).lower()
    assert b"sk-ant" not in b"".join(lines)
