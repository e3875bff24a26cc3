"""Whose a file is, and whether others could change it: what an operator's secrets rest on must be his alone.

Folders above are not looked at: who may write there can take a home away, not put another in its place, since that one
would be his. Stays out: what is done about files (`resources`, `cli`).
"""

from __future__ import annotations

import os
import pwd
import stat
from pathlib import Path

from stax_pipeline.domain.errors import WrongUse

OTHERS_WRITE, OTHERS_USE = 0o022, 0o077


def account(uid: int) -> str:
    """The account's name, or its number where it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def is_ours(found: os.stat_result) -> bool:
    return found.st_uid == os.geteuid()


def described(found: os.stat_result) -> str:
    return f"owner {account(found.st_uid)}, mode {stat.S_IMODE(found.st_mode):04o}"


def why_not_ours(path: Path, found: os.stat_result, forbidden: int) -> str:
    """A sentence on who else could change (or, as `forbidden` says, use) the file that was found there; '' for nobody.

    The link that led there may be root's.
    """
    link = path.lstat()
    if not is_ours(found) or (stat.S_ISLNK(link.st_mode) and link.st_uid not in (0, os.geteuid())):
        owner = account(link.st_uid if is_ours(found) else found.st_uid)
        return (
            f"{path} belongs to another account ({described(link if is_ours(found) else found)}), and this runs as "
            f"{account(os.geteuid())}: run it as {owner}, or use a place of your own."
        )
    if found.st_mode & forbidden:
        open_to = "open to others" if forbidden == OTHERS_USE else "open for others to write to"
        mend = f"chmod 600 {path}" if stat.S_ISREG(found.st_mode) else f"chmod go-w {path} and look at what lies in it"
        return f"{path} is {open_to} ({described(found)}): run {mend}"
    return ""


def is_trusted(found: os.stat_result) -> bool:
    """Whether only this account and root could change it."""
    return found.st_uid in (0, os.geteuid()) and not found.st_mode & OTHERS_WRITE


def own_home(home: Path) -> Path:
    """The home, if it is this account's alone or is not made yet. Raises WrongUse: it decides what is run and kept."""
    try:
        found = home.stat()
    except FileNotFoundError:
        return home
    except NotADirectoryError:
        file = next(folder for folder in home.parents if folder.is_file())
        raise WrongUse(f"STAX_HOME {home} is not usable: {file} is a file, not a folder.") from None
    except OSError as fault:
        raise WrongUse(f"STAX_HOME {home} is not usable: {fault.strerror}. Name a folder of your own.") from None
    if not stat.S_ISDIR(found.st_mode):
        raise WrongUse(f"STAX_HOME {home} is not usable: it is a file, not a folder.")
    others = why_not_ours(home, found, OTHERS_WRITE)
    if others:
        raise WrongUse(f"STAX_HOME {others}")
    return home
