"""Which stage of a run the CPU seconds went to, by looking at it from outside: the product knows nothing of it.

A thread wakes every few milliseconds, asks the kernel how long each thread was on a processor since the last look, and
books that on the stage whose code the thread is in. What the server did meanwhile is booked on the stages that wait
for it. A helper thread that has just done its work is of the stage that it was last seen in. What no stage claims is
`rest`; the watching thread's own time is told apart.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import defaultdict
from contextlib import suppress
from types import FrameType, TracebackType

import psutil

from benchmarks.cpu import cpu_of

STAGES = {
    "stax_pipeline.anthropic": "request and raw",
    "stax_pipeline.anthropic.analytics_page": "parse",
    "stax_pipeline.anthropic.envelope": "parse",
    "stax_pipeline.anthropic.fetched_page": "parse",
    "stax_pipeline.anthropic.fields": "parse",
    "stax_pipeline.anthropic.paging": "parse",
    "stax_pipeline.anthropic.strict_json": "parse",
    "stax_pipeline.anthropic.typed_pages": "parse",
    "stax_pipeline.assets.raw": "request and raw",
    "stax_pipeline.assets.checks": "checks",
    "stax_pipeline.assets.extraction_check": "checks",
    "stax_pipeline.checks": "checks",
    "stax_pipeline.derive": "derive",
    "stax_pipeline.derive.analytics_rows": "parse",
    "stax_pipeline.derive.cost_lines": "parse",
    "stax_pipeline.derive.day_facts": "publish",
    "stax_pipeline.derive.engine": None,
    "stax_pipeline.derive.guards": "publish",
    "stax_pipeline.derive.normalise": "parse",
    "stax_pipeline.derive.plain_rows": "parse",
    "stax_pipeline.derive.restatement": "publish",
    "stax_pipeline.derive.usage_lines": "parse",
    "stax_pipeline.derive.usage_tables": "parse",
    "stax_pipeline.keys": "request and raw",
    "stax_pipeline.lake.parquet": "parquet",
    "stax_pipeline.lake.raw": "request and raw",
    "stax_pipeline.pipeline": "publish",
    "stax_pipeline.pipeline.batches": None,
    "stax_pipeline.pipeline.beside": None,
    "stax_pipeline.pipeline.build_batch": "load",
    "stax_pipeline.pipeline.extract": "request and raw",
    "stax_pipeline.pipeline.extraction_record": "request and raw",
    "stax_pipeline.pipeline.identities": "request and raw",
    "stax_pipeline.pipeline.isolation": None,
    "stax_pipeline.pipeline.publish_spend": "load",
    "stax_pipeline.pipeline.recorder": "request and raw",
    "stax_pipeline.pipeline.run_queries": "request and raw",
    "stax_pipeline.pipeline.tenant_days": "load",
    "stax_pipeline.pricing": "derive",
    "dagster": "Dagster",
    "dagster_postgres": "Dagster",
    "dagster_shared": "Dagster",
    "stax_pipeline.dagster_instance": "Dagster",
}
"""Stages by module, the longest name counts. Of those without one the caller decides."""
ORDER = ("request and raw", "parse", "publish", "derive", "load", "parquet", "checks", "Dagster", "rest")
SECONDS = 0.01
SERVER_SECONDS = 0.05
CHILDREN_SECONDS = 0.3
_IDLE = frozenset({"selectors", "threading", "queue", "concurrent.futures.thread"})
_WAITS_FOR_SERVER = ("sqlalchemy.", "stax_pipeline.warehouse.", "stax_pipeline.lake.parquet", "psycopg2.")


class Look:
    """What one thread was doing: its stage, and whether it waited for the server or for anything else."""

    def __init__(self, frame: FrameType | None) -> None:
        innermost = _module(frame) if frame else ""
        self.is_idle = innermost in _IDLE
        self.waits_for_server = innermost.startswith(_WAITS_FOR_SERVER)
        self.stage = "rest"
        while frame:
            if stage := stage_of(_module(frame)):
                self.stage = stage
                return
            frame = frame.f_back


def stage_of(module: str) -> str | None:
    """The stage of a module; None where its caller decides."""
    while module:
        if module in STAGES:
            return STAGES[module]
        module = module.rpartition(".")[0]
    return None


def _module(frame: FrameType) -> str:
    return str((frame.f_globals or {}).get("__name__", ""))  # a frame that ends meanwhile has none


class Watch:
    """Watches this process and the server while its block runs; then `client` and `server` hold CPU seconds by stage.

    `own` are the CPU seconds of the watching itself, which are in no stage.
    """

    def __init__(self, postmaster: psutil.Process) -> None:
        self.client: dict[str, float] = defaultdict(float)
        self.server: dict[str, float] = defaultdict(float)
        self.own = 0.0
        self._broken: Exception | None = None
        self._postmaster = postmaster
        self._backends: dict[int, tuple[psutil.Process, float]] = {}
        self._before: dict[int, float] = {}
        self._last: dict[int, str] = {}
        self._waiting: list[str] = []
        self._waited = ["rest"]
        self._process = 0.0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def __enter__(self) -> Watch:
        self._find_backends()
        for identity in sys._current_frames():
            self._since(identity)
        self._process = time.process_time()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        if self._broken and not error:
            raise self._broken

    def _run(self) -> None:
        try:
            self._look()
        except Exception as broken:  # it is told where the block ends
            self._broken = broken

    def _look(self) -> None:
        server_due = children_due = 0.0
        while not self._ended.wait(SECONDS):
            looks = self._threads()
            now = time.monotonic()
            if now >= children_due:
                self._find_backends()
                children_due = now + CHILDREN_SECONDS
            self._waiting += [look.stage for look in looks if look.waits_for_server]
            if now >= server_due:
                self._backends_work()
                server_due = now + SERVER_SECONDS
            self.own = time.thread_time()

    def _threads(self) -> list[Look]:
        me = threading.get_ident()
        process = time.process_time()
        native = process - self._process - (time.thread_time() - self._before.get(me, 0.0))
        self._process = process
        self._before[me] = time.thread_time()
        looks = {identity: Look(frame) for identity, frame in sys._current_frames().items() if identity != me}
        main = looks.get(threading.main_thread().ident or 0)
        for identity, look in looks.items():
            spent = self._since(identity)
            if look.stage == "rest" and look is not main:
                look.stage = self._last.get(identity, main.stage if main else "rest")
            self._last[identity] = look.stage
            self.client[look.stage] += spent
            native -= spent
        self._book_native(max(native, 0.0), list(looks.values()))
        return list(looks.values())

    def _since(self, identity: int) -> float:
        """CPU seconds of a thread since the last look at it."""
        total = self._before.get(identity, 0.0)
        with suppress(OSError):  # it ended meanwhile
            total = time.clock_gettime(time.pthread_getcpuclockid(identity))
        spent = total - self._before.get(identity, 0.0)
        self._before[identity] = total
        return max(spent, 0.0)

    def _book_native(self, spent: float, looks: list[Look]) -> None:
        """Threads that libraries keep for themselves work for who is not idle."""
        busy = [look.stage for look in looks if not look.is_idle] or [look.stage for look in looks] or ["rest"]
        for stage in busy:
            self.client[stage] += spent / len(busy)

    def _find_backends(self) -> None:
        with suppress(psutil.Error):
            for process in (self._postmaster, *self._postmaster.children(recursive=True)):
                self._backends.setdefault(process.pid, (process, cpu_of(process)))

    def _backends_work(self) -> None:
        """What the server did is booked on those who waited for it since the last look, else on those before."""
        stages = self._waited = self._waiting or self._waited
        self._waiting = []
        for pid, (process, before) in list(self._backends.items()):
            spent = max(cpu_of(process) - before, 0.0)
            if spent:
                self._backends[pid] = process, before + spent
            for stage in stages:
                self.server[stage] += spent / len(stages)
