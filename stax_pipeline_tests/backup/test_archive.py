"""The backup's file: what was written is read, and anything else is refused, at every byte and every bit of it."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import tarfile
import tracemalloc
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import zstandard

from stax_pipeline.backup import archive as archives
from stax_pipeline.backup import streams as archive_streams
from stax_pipeline.backup.archive import ArchiveReader, ArchiveWriter, BackupRefused, Entry, written_whole
from stax_pipeline.domain.errors import WrongUse

HEAD = {"revision": "0001", "tables": [{"name": "spend", "columns": ["a"]}]}
CONTENT = {"postgres/spend.copy": b"1\t2\n" * 50, "raw/cost_report/tenant=x/a.jsonl.zst": b"\x00\xff"}
ABSENT = Entry("raw/usage_report/b.jsonl.zst", "ab" * 32, 0, "left out on request")


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """A small whole archive."""
    path = tmp_path / "one.tar.zst"
    with written_whole(path) as writer:
        _fill(writer)
    return path


def _fill(writer: ArchiveWriter) -> None:
    writer.head(HEAD)
    for name, data in CONTENT.items():
        writer.add(name, io.BytesIO(data), 50 if name.endswith(".copy") else None)
    writer.note_absent(ABSENT)


def read(path: Path) -> tuple[dict[str, bytes], ArchiveReader]:
    with path.open("rb") as file:
        reader = ArchiveReader(file, path.name)
        reader.prove()
        return {member.name: member.content.read() for member in reader.members()}, reader


def by_hand(path: Path, *members: tuple[str, bytes], kind: bytes = tarfile.REGTYPE) -> Path:
    """An archive as a stranger would make it: hashes right, no rule kept."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size, info.type = len(data), kind
            info.pax_headers = {"comment": hashlib.sha256(data).hexdigest()}
            tar.addfile(info, io.BytesIO(data))
    frame = zstandard.compress(made.getvalue())
    path.write_bytes(frame + b"\x50\x2a\x4d\x18\x20\0\0\0" + hashlib.sha256(frame).digest())
    return path


def test_what_was_written_is_read_as_often_as_needed(archive: Path) -> None:
    with archive.open("rb") as file:
        reader = ArchiveReader(file, archive.name)
        reader.prove()
        found = {member.name: member.content.read() for member in reader.members()}
    assert found == CONTENT
    assert reader.words == {"format": 1, **HEAD}
    assert reader.absent == [ABSENT]
    assert reader.rows == {"postgres/spend.copy": 50}


def test_a_member_that_nobody_read_is_proven_too(archive: Path) -> None:
    with archive.open("rb") as file:
        assert [member.name for member in ArchiveReader(file, "x").members()] == list(CONTENT)


def test_common_programs_read_it(archive: Path) -> None:
    with archive.open("rb") as file, zstandard.ZstdDecompressor().stream_reader(file) as plain:
        done = subprocess.run(["tar", "-tf", "-"], input=plain.read(), capture_output=True, check=True)
    assert done.stdout.decode().split() == ["stax-backup.json", *CONTENT, "manifest.jsonl"]
    assert done.stderr == b""


def test_it_is_private_and_nothing_else_is_left(archive: Path) -> None:
    assert archive.stat().st_mode & 0o777 == 0o600
    assert list(archive.parent.iterdir()) == [archive]


def test_every_cut_is_refused(archive: Path) -> None:
    whole = archive.read_bytes()
    for length in range(len(whole)):
        archive.write_bytes(whole[:length])
        with pytest.raises(BackupRefused, match="not a usable backup"):
            read(archive)


def test_every_flipped_bit_is_refused(archive: Path) -> None:
    whole = archive.read_bytes()
    for place in range(len(whole) * 8):
        changed = bytearray(whole)
        changed[place // 8] ^= 1 << place % 8
        archive.write_bytes(changed)
        with pytest.raises(BackupRefused, match="not a usable backup"):
            read(archive)


def test_without_its_seal_a_changed_member_is_refused_all_the_same(archive: Path) -> None:
    """Whatever changes the file between the proof and the use of it: then the members' own hashes tell."""
    with zstandard.ZstdDecompressor().stream_reader(archive.read_bytes()) as frame:
        plain = bytearray(frame.read())
    place = plain.index(CONTENT["postgres/spend.copy"])
    plain[place] ^= 1
    archive.write_bytes(zstandard.compress(bytes(plain)))
    with archive.open("rb") as file, pytest.raises(BackupRefused, match="spend.copy does not have its recorded hash"):
        list(ArchiveReader(file, "x").members())


@pytest.mark.parametrize("tail", [b"x", b"\0" * 600, b"(\xb5/\xfd"])
def test_what_follows_the_archive_is_refused(archive: Path, tail: bytes) -> None:
    archive.write_bytes(archive.read_bytes() + tail)
    with pytest.raises(BackupRefused):
        read(archive)


@pytest.mark.parametrize("data", [b"", b"select 1;\n", b"PK\x03\x04", zstandard.compress(b"no tar" * 500)])
def test_another_file_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "other"
    path.write_bytes(data)
    with pytest.raises(BackupRefused, match="other is not a usable backup"):
        read(path)


def manifest(*members: tuple[str, bytes], **changes: Any) -> bytes:
    lines = [Entry(name, hashlib.sha256(data).hexdigest(), len(data))._asdict() | changes for name, data in members]
    return b"".join(json_line(line) for line in lines)


def json_line(value: dict[str, Any]) -> bytes:
    return json.dumps(value).encode() + b"\n"


HEAD_MEMBER = ("stax-backup.json", json_line({"format": 1}))
ROWS = ("postgres/spend.copy", b"1\n")


def test_an_archive_made_by_hand_is_read_when_it_keeps_the_rules(tmp_path: Path) -> None:
    whole = by_hand(tmp_path / "x", HEAD_MEMBER, ROWS, ("manifest.jsonl", manifest(HEAD_MEMBER, ROWS)))
    assert read(whole)[0] == {"postgres/spend.copy": b"1\n"}


@pytest.mark.parametrize(
    "members",
    [
        (HEAD_MEMBER,),
        (HEAD_MEMBER, ROWS),
        (ROWS, ("manifest.jsonl", manifest(ROWS))),
        (HEAD_MEMBER, ("manifest.jsonl", manifest(HEAD_MEMBER, ROWS))),
        (HEAD_MEMBER, ROWS, ("manifest.jsonl", manifest(HEAD_MEMBER))),
        (HEAD_MEMBER, ROWS, ("manifest.jsonl", manifest(HEAD_MEMBER, ROWS, size=9))),
        (HEAD_MEMBER, ("manifest.jsonl", manifest(HEAD_MEMBER)), ROWS),
        (HEAD_MEMBER, HEAD_MEMBER, ("manifest.jsonl", manifest(HEAD_MEMBER, HEAD_MEMBER))),
        (HEAD_MEMBER, ("manifest.jsonl", b"[]\n")),
        (HEAD_MEMBER, ("manifest.jsonl", b'{"name": 1}\n')),
        (("stax-backup.json", b"[1]"), ("manifest.jsonl", b"")),
        (("stax-backup.json", b'{"format": 2}'), ("manifest.jsonl", b"")),
    ],
)
def test_an_archive_that_does_not_keep_the_rules_is_refused(
    tmp_path: Path, members: tuple[tuple[str, bytes], ...]
) -> None:
    with pytest.raises(BackupRefused):
        read(by_hand(tmp_path / "x", *members))


@pytest.mark.parametrize(
    "name",
    ["../x", "/etc/passwd", "raw/../../x", "raw/./x", "raw//x", "raw/", "postgres/a b.copy", "postgres/x.copy/y",
     "lake/spend/part-0.parquet", "raw/a\n", "RAW/x", "master.key"],
)  # fmt: skip
def test_no_file_is_taken_out_under_a_name_of_its_own_choice(tmp_path: Path, name: str) -> None:
    member = (name, b"x")
    path = by_hand(tmp_path / "x", HEAD_MEMBER, member, ("manifest.jsonl", manifest(HEAD_MEMBER, member)))
    with pytest.raises(BackupRefused, match="whose name no backup has|cut or damaged"):
        read(path)


SPACES = b" " * 100_000_000


@pytest.mark.parametrize(
    "bomb",
    [
        [(HEAD_MEMBER[0], SPACES)],
        [HEAD_MEMBER, ("manifest.jsonl", SPACES)],
        [HEAD_MEMBER, ("manifest.jsonl", manifest(("raw/a", b""), absent="x") * 200_000)],
        [(HEAD_MEMBER[0], b"[" * 1_000_000)],
        [("x" * 100_000_000, b"")],
        [HEAD_MEMBER, ("raw/a", SPACES)],
        [HEAD_MEMBER, ("postgres/spend.copy", SPACES)],
        [HEAD_MEMBER, *((f"raw/{number}", SPACES[:15_000_000]) for number in range(7))],
    ],
    ids=[
        "head",
        "line of the manifest",
        "lines of the manifest",
        "levels of the head",
        "name",
        "raw object",
        "rows",
        "raw objects",
    ],
)
def test_a_small_file_does_not_unfold_in_memory(tmp_path: Path, bomb: list[tuple[str, bytes]]) -> None:
    path = by_hand(tmp_path / "x", *bomb)
    assert path.stat().st_size < 200_000
    tracemalloc.start()
    try:
        with pytest.raises(BackupRefused):
            read(path)
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", ["raw/a", "postgres/spend.copy"])
def test_a_small_file_does_not_unfold_on_the_disk(tmp_path: Path, name: str) -> None:
    """What is put back was handed out before: nothing of a bomb is."""
    bomb = (name, SPACES)
    path = by_hand(tmp_path / "x", HEAD_MEMBER, bomb, ("manifest.jsonl", manifest(HEAD_MEMBER, bomb)))
    with path.open("rb") as file, pytest.raises(BackupRefused, match="unfolds to much more than a backup does"):
        for member in ArchiveReader(file, "x").members():
            pytest.fail(f"{member.name} was handed out")


def test_what_follows_the_last_member_is_bounded_too(tmp_path: Path) -> None:
    path = by_hand(tmp_path / "x", HEAD_MEMBER, ("manifest.jsonl", manifest(HEAD_MEMBER)))
    with zstandard.ZstdDecompressor().stream_reader(path.read_bytes()) as frame:
        plain = frame.read()
    path.write_bytes(zstandard.compress(plain + bytes(100_000_000)))
    with path.open("rb") as file, pytest.raises(BackupRefused, match="unfolds to much more than a backup does"):
        list(ArchiveReader(file, "x").members())


def test_headers_are_bounded_too(tmp_path: Path) -> None:
    """A member of no length may have a header of 256 KB: 28 KB of them were read as 400 MB."""
    path, made = tmp_path / "x", io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, data in (HEAD_MEMBER, *[("raw/a", b"")] * 400):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            info.pax_headers = {"comment": hashlib.sha256(data).hexdigest(), "x": "a" * 200_000}
            tar.addfile(info, io.BytesIO(data))
    path.write_bytes(zstandard.compress(made.getvalue()))
    with path.open("rb") as file, pytest.raises(BackupRefused, match="unfolds to much more than a backup does"):
        list(ArchiveReader(file, "x").members())


@pytest.mark.parametrize("what", ["members", "lines"])
def test_no_more_files_are_read_than_a_backup_of_its_size_lists(
    tmp_path: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each has a hash, which does not fold: 747 kB of made-up lines took 4.4 s, of empty members longer."""
    names = [f"raw/{number:06}" for number in range(20_000)]
    members = [(name, b"") for name in names] if what == "members" else []
    lines = b"".join(json_line(ABSENT._asdict() | {"name": name}) for name in names) if what == "lines" else b""
    listed = manifest(HEAD_MEMBER, *members) + lines
    path = by_hand(tmp_path / "x", HEAD_MEMBER, *members, ("manifest.jsonl", listed))
    most = 1_000 + path.stat().st_size // 32
    looked_at: list[object] = []
    for kind, name in ((archives, "_entry"), (archive_streams.Hashed, "finish")):
        found = getattr(kind, name)
        monkeypatch.setattr(kind, name, lambda one, found=found: looked_at.append(one) or found(one))
    with pytest.raises(BackupRefused, match="it lists more files than a backup of its size"):
        read(path)
    assert most < len(names) / 2
    assert most / 2 < len(looked_at) <= most + 1


def test_a_backup_that_lists_all_its_raw_objects_as_absent_is_read(tmp_path: Path) -> None:
    """As `--no-raw` writes it: little else than hashes."""
    entries = [
        Entry(f"raw/cost_report/{number}.zst", hashlib.sha256(b"%d" % number).hexdigest(), 0, "left out on request")
        for number in range(30_000)
    ]
    with written_whole(tmp_path / "x") as writer:
        writer.head(HEAD)
        for entry in entries:
            writer.note_absent(entry)
    assert read(tmp_path / "x")[1].absent == entries


def test_a_file_of_holes_is_refused(tmp_path: Path) -> None:
    """GNU tar's sparse files say of themselves how long they are."""
    made = io.BytesIO()
    info = tarfile.TarInfo("postgres/spend.copy")
    info.pax_headers = {"comment": "00" * 32, "GNU.sparse.size": str(1 << 50), "GNU.sparse.map": "0,0"}
    with tarfile.open(fileobj=made, mode="w", format=tarfile.PAX_FORMAT) as tar:
        head = tarfile.TarInfo(HEAD_MEMBER[0])
        head.size, head.pax_headers = len(HEAD_MEMBER[1]), {"comment": hashlib.sha256(HEAD_MEMBER[1]).hexdigest()}
        tar.addfile(head, io.BytesIO(HEAD_MEMBER[1]))
        tar.addfile(info)
    (tmp_path / "x").write_bytes(zstandard.compress(made.getvalue()))
    with (tmp_path / "x").open("rb") as file, pytest.raises(BackupRefused, match="unfolds to much more"):
        list(ArchiveReader(file, "x").members())


@pytest.mark.parametrize(
    "changes",
    [{"name": "../x", "absent": "x"}, {"name": "raw/\x1b[2J", "absent": "x"}, {"name": 1}, {"absent": ["x"]},
     {"rows": "1"}, {"name": "postgres/a b.copy", "absent": "\x1b"}, {"absent": "x\nRestored 7 rows."},
     {"absent": "x\u202e"}],
)  # fmt: skip
def test_a_manifest_lists_names_of_backups_alone(tmp_path: Path, changes: dict[str, Any]) -> None:
    [kept] = manifest(HEAD_MEMBER).splitlines(keepends=True)
    odd = json_line(ABSENT._asdict() | {"absent": "", "name": "raw/a"} | changes)
    path = by_hand(tmp_path / "x", HEAD_MEMBER, ("manifest.jsonl", kept + odd))
    with pytest.raises(BackupRefused):
        read(path)


def test_a_link_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BackupRefused):
        read(by_hand(tmp_path / "x", ("raw/a", b""), kind=tarfile.SYMTYPE))


def test_what_fails_half_way_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), written_whole(tmp_path / "one") as writer:
        _fill(writer)
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_ever_replaced(archive: Path) -> None:
    before = archive.read_bytes()
    with pytest.raises(WrongUse, match="exists already"), written_whole(archive):
        pass
    assert archive.read_bytes() == before


@pytest.mark.parametrize("has_links", [True, False])
@pytest.mark.parametrize("appears", [True, False])
def test_a_file_that_appears_meanwhile_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_links: bool, appears: bool
) -> None:
    """Nor on a disk without hard links, where the backup appears all the same."""

    def none(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    if not has_links:
        monkeypatch.setattr("os.link", none)
    path = tmp_path / "one"
    with pytest.raises(WrongUse, match="appeared while") if appears else nullcontext(), written_whole(path) as writer:
        _fill(writer)
        if appears:
            path.write_text("another's")
    if appears:
        assert path.read_text() == "another's"
    else:
        assert read(path)[0] == CONTENT
        assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(WrongUse, match="there is no folder"), written_whole(tmp_path / "none" / "one"):
        pass
