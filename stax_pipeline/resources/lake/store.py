"""Put and get whole objects, on a local disk or in object storage (`s3://`, `gs://`).

A local write is temp file, fsync, rename (or link, where nothing may be overwritten), fsync of the folder: a name that
exists holds a complete object, whatever is killed when.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path, PurePosixPath

import obstore
from obstore.exceptions import AlreadyExistsError, NotFoundError

from stax_pipeline.domain.errors import CannotStart, StaxError


class ObjectMissing(StaxError):
    """The lake does not hold what the warehouse names."""


class Lake:
    """Objects by relative path. `url` is a folder or an object-storage address."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self._folder = None if "://" in url else Path(url)
        self._remote = obstore.store.from_url(url) if "://" in url else None

    def put_new(self, path: str, data: bytes) -> None:
        """Create an object that must not exist yet. Raises FileExistsError when it does."""
        if self._remote is not None:
            try:
                obstore.put(self._remote, path, data, mode="create")
            except AlreadyExistsError:
                raise FileExistsError(path) from None
            return
        target = self._target(path)
        with self._writing(target) as temporary:
            with temporary.open("wb") as out:
                out.write(data)
                out.flush()
                os.fsync(out.fileno())
            os.link(temporary, target)
        _sync_folder(target.parent)

    def replace(self, path: str, file: Path) -> None:
        """Publish a finished local file under `path`, over whatever was there; the file is moved or removed."""
        if self._remote is not None:
            obstore.put(self._remote, path, file)
            file.unlink()
            return
        target = self._target(path)
        with file.open("rb") as written:
            os.fsync(written.fileno())
        file.rename(target)
        _sync_folder(target.parent)

    def get(self, path: str) -> bytes:
        """The object's bytes. Raises ObjectMissing."""
        try:
            if self._remote is not None:
                return bytes(obstore.get(self._remote, path).bytes())
            return self._target(path, make=False).read_bytes()
        except (NotFoundError, FileNotFoundError):
            raise ObjectMissing(
                f"The lake holds no {path}; restore it from a backup or extract the days again."
            ) from None

    def count(self, prefix: str) -> int:
        """How many objects lie under `prefix`."""
        return sum(1 for _ in self.paths(prefix))

    def paths(self, prefix: str) -> Iterator[str]:
        """Every object under `prefix`, in the order of the names."""
        if self._remote is not None:
            yield from sorted(meta["path"] for page in obstore.list(self._remote, prefix) for meta in page)
            return
        folder = self._target(prefix, make=False)
        held = folder.rglob("*") if folder.exists() else ()
        yield from sorted(file.relative_to(self._target("", make=False)).as_posix() for file in held if file.is_file())

    def delete(self, path: str) -> None:
        """Remove one object, if it is there."""
        if self._remote is not None:
            with contextlib.suppress(NotFoundError):
                obstore.delete(self._remote, path)
            return
        self._target(path, make=False).unlink(missing_ok=True)

    def delete_folder(self, prefix: str) -> int:
        """Remove every object under `prefix`; returns how many there were."""
        if self._remote is not None:
            paths = list(self.paths(prefix))
            if paths:
                obstore.delete(self._remote, paths)
            return len(paths)
        folder = self._target(prefix, make=False)
        held = [file for file in folder.rglob("*") if file.is_file()] if folder.exists() else []
        shutil.rmtree(folder, ignore_errors=True)
        return len(held)

    def sweep(self, older_than: timedelta) -> int:
        """Remove unfinished files that a killed process left; returns how many there were."""
        limit = time.time() - older_than.total_seconds()
        left = [file for file in self.scratch().iterdir() if file.stat().st_mtime < limit]
        for file in left:
            file.unlink(missing_ok=True)
        return len(left)

    def scratch(self) -> Path:
        """A folder for unfinished files, on the same disk as a local lake so that a rename is atomic."""
        folder = (self._folder or Path(os.environ.get("TMPDIR", "/tmp")) / "stax-scratch") / ".tmp"
        _make(folder)
        return folder

    def _target(self, path: str, *, make: bool = True) -> Path:
        relative = PurePosixPath(path)
        if self._folder is None or relative.is_absolute() or ".." in relative.parts:
            raise ValueError(f"not a lake path: {path}")
        target = self._folder / relative
        if make:
            _make(target.parent)
        return target

    @contextlib.contextmanager
    def _writing(self, target: Path):  # type: ignore[no-untyped-def]
        temporary = self.scratch() / f"{target.name}.{uuid.uuid4().hex}"
        try:
            yield temporary
        finally:
            temporary.unlink(missing_ok=True)


def _make(folder: Path) -> None:
    try:
        missing = [one for one in (folder, *folder.parents) if not one.exists()]
        for one in reversed(missing):  # `parents=True` would leave those between to the umask
            one.mkdir(exist_ok=True, mode=0o700)
        folder.mkdir(exist_ok=True)
    except OSError as fault:
        raise CannotStart(f"The lake folder {folder} cannot be made: {fault.strerror}. Check STAX_LAKE_URL.") from None


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
