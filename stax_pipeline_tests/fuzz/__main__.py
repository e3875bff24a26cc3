"""Coverage-guided fuzzing of the page parsers: `make fuzz`. Needs atheris, which has an environment of its own.

Arguments go to libFuzzer: first the folder for what it learns, then the committed corpus, then its options.
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["stax_pipeline", "stax_pipeline_tests.fuzz", "json"]):
    from stax_pipeline_tests.fuzz.target import read


def one(data: bytes) -> None:
    read(data)


atheris.Setup(sys.argv, one)
atheris.Fuzz()
