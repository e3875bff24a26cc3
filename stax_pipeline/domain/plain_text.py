"""Text from outside, shown: names come from the source, and whoever may rename a workspace could redraw a screen.

Stays out: what a spreadsheet would run (`csv_text`) and what a chat turns into a link (`alerts.channels`).
"""

from __future__ import annotations

import json
import re

_CANDIDATES = re.compile(r"[^ -~]")


def plain(text: str, keep: str = "") -> str:
    """`text` with everything that a terminal would obey escaped: control characters and marks of direction.

    The escapes are JSON's, so that JSON stays JSON and says the same. `keep` are characters to leave as they are.
    """
    return _CANDIDATES.sub(lambda found: _shown(found[0], keep), text)


def _shown(character: str, keep: str) -> str:
    return character if character.isprintable() or character in keep else json.dumps(character)[1:-1]
