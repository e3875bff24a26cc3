"""Put and get whole objects, on a local disk or in object storage (`s3://`, `gs://`).

A local write is temp file, fsync, rename (or link, where nothing may be overwritten), fsync of the folder: a name that
exists holds a complete object, whatever is killed when.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path, PurePosixPath
from typing import IO, cast

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, NotFoundError

from stax_pipeline.domain.errors import CannotStart, StaxError
from stax_pipeline.installation.process_secrets import of_storage, way_to_storage

CHUNK = 1 << 20
LARGEST_IN_MEMORY = 1 << 24


class ObjectUnreadable(StaxError):
    """One object cannot be read; the others may be whole."""


class ObjectMissing(ObjectUnreadable):
    """The lake does not hold what the warehouse names."""


class Lake:
    """Objects by relative path. `url` is a folder or an object-storage address; `home` is needed for the latter alone.

    Every method raises CannotStart when object storage is out of reach or refuses.
    """

    def __init__(self, url: str, home: Path | None = None) -> None:
        self.url = url.rstrip("/")
        self._folder = None if "://" in url else Path(url)
        self._home = home
        with _reaching("opened"):
            self._remote = (
                obstore.store.from_url(url, config=of_storage(url), client_options=way_to_storage())
                if "://" in url
                else None
            )

    def put_new(self, path: str, data: bytes | IO[bytes]) -> None:
        """Create an object that must not exist yet. Raises FileExistsError when it does."""
        if self._remote is not None:
            with _reaching("written"):
                try:
                    obstore.put(self._remote, path, data, mode="create")
                except AlreadyExistsError:
                    raise FileExistsError(path) from None
            return
        target = self._target(path)
        with self._writing(target) as temporary:
            with temporary.open("wb") as out:
                shutil.copyfileobj(io.BytesIO(data) if isinstance(data, bytes) else data, out, CHUNK)
                out.flush()
                os.fsync(out.fileno())
            os.link(temporary, target)
        _sync_folder(target.parent)

    def replace(self, path: str, file: Path) -> None:
        """Publish a finished local file under `path`, over whatever was there; the file is moved or removed."""
        if self._remote is not None:
            with _reaching("written"):
                obstore.put(self._remote, path, file)
            file.unlink()
            return
        target = self._target(path)
        with file.open("rb") as written:
            os.fsync(written.fileno())
        file.rename(target)
        _sync_folder(target.parent)

    def get(self, path: str) -> bytes:
        """The object's bytes. Raises ObjectMissing, ObjectUnreadable."""
        with _finding(path):
            if self._remote is not None:
                return bytes(obstore.get(self._remote, str(_inside(path))).bytes())
            return self._target(path, make=False).read_bytes()

    def holds(self, path: str) -> bool:
        """Whether there is an object of that path."""
        if self._remote is not None:
            with _reaching("read"), contextlib.suppress(NotFoundError, FileNotFoundError):
                obstore.head(self._remote, path)
                return True
            return False
        return self._target(path, make=False).is_file()

    def copy_into(self, path: str, out: IO[bytes]) -> None:
        """Write the object's bytes, a piece at a time. Raises ObjectMissing, ObjectUnreadable."""
        with _finding(path):
            if self._remote is not None:
                out.writelines(map(bytes, obstore.get(self._remote, str(_inside(path))).stream(CHUNK)))
                return
            with self._target(path, make=False).open("rb") as held:
                shutil.copyfileobj(held, out, CHUNK)

    def unfinished(self) -> IO[bytes]:
        """A new file without a name, in memory while it is small."""
        return cast(IO[bytes], tempfile.SpooledTemporaryFile(max_size=LARGEST_IN_MEMORY, dir=str(self.scratch())))

    def count(self, prefix: str) -> int:
        """How many objects lie under `prefix`."""
        return sum(1 for _ in self.paths(prefix))

    def paths(self, prefix: str) -> Iterator[str]:
        """Every object under `prefix`, in the order of the names."""
        if self._remote is not None:
            with _reaching("read"):
                found = sorted(meta["path"] for page in obstore.list(self._remote, prefix) for meta in page)
            yield from found
            return
        top = self._target("", make=False)
        held = os.walk(self._target(prefix, make=False))
        yield from sorted(
            Path(os.path.relpath(folder, top), name).as_posix() for folder, _, files in held for name in files
        )

    def delete(self, path: str) -> None:
        """Remove one object, if it is there."""
        if self._remote is not None:
            with _reaching("written"), contextlib.suppress(NotFoundError):
                obstore.delete(self._remote, path)
            return
        self._target(path, make=False).unlink(missing_ok=True)

    def delete_folder(self, prefix: str) -> int:
        """Remove every object under `prefix`; returns how many there were."""
        if self._remote is not None:
            paths = list(self.paths(prefix))
            with _reaching("written"):
                if paths:
                    obstore.delete(self._remote, paths)
            return len(paths)
        folder = self._target(prefix, make=False)
        held = [file for file in folder.rglob("*") if file.is_file()] if folder.exists() else []
        shutil.rmtree(folder, ignore_errors=True)
        return len(held)

    def sweep(self, older_than: timedelta) -> int:
        """Remove unfinished files, and folders, that a killed process left; returns how many there were."""
        limit = time.time() - older_than.total_seconds()
        files, folders = (
            [one for one in place.iterdir() if one.stat().st_mtime < limit]
            for place in (self.scratch(), self.overflow())
        )
        for file in files:
            file.unlink(missing_ok=True)
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)
        return len(files) + len(folders)

    def scratch(self) -> Path:
        """A folder for unfinished files: on a local lake's disk so that a rename is atomic, else in `home`."""
        return self._own_folder(".tmp")

    def overflow(self) -> Path:
        """A folder for what a step keeps out of memory while it runs, in folders of their own."""
        return self._own_folder(".overflow")

    def _own_folder(self, name: str) -> Path:
        place = self._folder or self._home
        assert place is not None, "a lake in object storage was opened without a home"
        folder = place / name
        _make(folder)
        return folder

    def _target(self, path: str, *, make: bool = True) -> Path:
        assert self._folder is not None, "a lake in object storage has no folder"
        target = self._folder / _inside(path)
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


@contextlib.contextmanager
def _reaching(doing: str) -> Iterator[None]:
    """Tell what object storage says in plain words; a program that answers there may say anything, at any length."""
    try:
        yield
    except (BaseError, FileNotFoundError) as fault:  # the latter: there is no such bucket
        said = str(fault).strip().partition("\n")[0][:300]
        raise CannotStart(
            f"The lake cannot be {doing}: {said} Check STAX_LAKE_URL and the credentials of the object storage."
        ) from None


@contextlib.contextmanager
def _finding(path: str) -> Iterator[None]:
    """Tell why one object cannot be read."""
    with _reaching("read"):
        try:
            yield
        except (NotFoundError, FileNotFoundError):
            raise ObjectMissing(
                f"The lake holds no {path}; restore it from a backup or extract the days again."
            ) from None
        except OSError as fault:
            raise ObjectUnreadable(f"The lake's {path} cannot be read: {fault.strerror or fault}.") from None


def _inside(path: str) -> PurePosixPath:
    """The path, unless it leads out of the lake: then it raises ObjectUnreadable."""
    relative = PurePosixPath(path)
    if relative.is_absolute() or ".." in relative.parts:
        raise ObjectUnreadable(f"{ascii(path)} is not a path in the lake.")
    return relative


def _make(folder: Path) -> None:
    if folder.is_dir():
        return
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
