"""How the process of the command line is set up."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from processor.process.memory import release_memory

HEAVY = (
    *("matplotlib", "geopandas", "pandas", "pyogrio", "s3fs", "gcsfs", "kubernetes"),
    *("PIL", "requests", "rich", "rio_cogeo", "scipy.sparse", "scipy.spatial"),
)


def run_python(text: str, **environment: str) -> str:
    command = [sys.executable, "-P", "-c", text]  # -P: the package under test, not the folder that this is run in
    return subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, **environment}).stdout.strip()


def test_pixels_can_be_read_before_the_libraries_that_are_needed_later_are_loaded() -> None:
    loaded = run_python(f"import sys, processor.execution.run; print([name for name in {HEAVY} if name in sys.modules])")
    assert loaded == "[]"


@pytest.mark.parametrize(("given", "expected"), [({}, "1"), ({"OPENBLAS_NUM_THREADS": "3"}, "3")])
def test_blas_has_one_thread_unless_the_environment_says_otherwise(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, str], expected: str
) -> None:
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    text = "import os; from processor.process.memory import tune_process as t; t(); print(os.environ['OPENBLAS_NUM_THREADS'])"
    assert run_python(text, **given) == expected


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
@pytest.mark.parametrize("asks", [True, False])
def test_free_memory_between_blocks_in_use_goes_back_to_the_kernel_by_itself_or_at_once_when_asked(*, asks: bool) -> None:
    text = (
        "import threading, types; from pathlib import Path; import numpy as np\n"
        "from processor.process import memory\n"
        "paused, looks = threading.Semaphore(0), threading.Semaphore(0)\n"
        "memory.time = types.SimpleNamespace(sleep=lambda _: (paused.release(), looks.acquire()))\n"  # it looks when it is told
        "def held(): return int(Path('/proc/self/statm').read_text().split()[1]) * 4096 >> 20\n"
        "memory.tune_process(); paused.acquire(); before = held()\n"
        "blocks = [np.ones(1 << 20) for _ in range(24)]; kept = blocks[::8]; del blocks; full = held() - before\n"
        f"memory.release_memory() if {asks} else (looks.release(), paused.acquire())\n"
        "print(full > 150, held() - before <= 60, len(kept))"
    )
    assert run_python(text) == "True True 3"


def test_releasing_memory_works_in_any_process() -> None:
    release_memory()


def test_libraries_are_loaded_ahead_in_a_thread_that_ends() -> None:
    text = (
        "import sys, threading; from processor.process.memory import load_ahead\n"
        "load_ahead(); [thread.join() for thread in threading.enumerate() if thread.name == 'load']\n"
        "import processor.process.memory as runtime; print(set(runtime._LATER) <= set(sys.modules))"
    )
    assert run_python(text) == "True"
