"""What Arrow converts brings no pandas into the process; who asks for a data frame gets one."""

from __future__ import annotations

import subprocess
import sys

CONVERTS = """
import sys
import stax_pipeline.definitions
import pyarrow as pa
table = pa.table({"model": ["a", None], "tokens": [1, 2]})
assert "pandas" not in sys.modules
frame = table.to_pandas()
assert type(frame) is sys.modules["pandas"].DataFrame
assert pa.Table.from_pandas(frame, preserve_index=False).to_pylist() == table.to_pylist()
import importlib.util
assert importlib.util.find_spec("pandas")
"""


def test_arrow_converts_without_pandas_and_makes_data_frames_when_asked() -> None:
    done = subprocess.run([sys.executable, "-c", CONVERTS], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
