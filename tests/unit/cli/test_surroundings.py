"""The command depends on neither the locale nor the standard streams nor the folder that it inherits."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = [sys.executable, "-m", "processor.cli"]
ROOT = str(Path(__file__).parents[3])


def run(script: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a shell script in which "$@" is the command."""
    return subprocess.run(
        ["/bin/sh", "-c", script, "sh", *COMMAND],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": ROOT, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture(scope="module")
def turkish(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The variables of a Turkish locale; Debian's package `locales` has its source, which `.ci/run` installs."""
    if shutil.which("localedef") is None or not Path("/usr/share/i18n/locales/tr_TR").exists():
        pytest.skip("there is no source of the Turkish locale here (Debian: apt-get install locales)")
    folder = tmp_path_factory.mktemp("locales")
    subprocess.run(["localedef", "-i", "tr_TR", "-f", "UTF-8", str(folder / "tr_TR.UTF-8")], check=True, timeout=60)
    return {"LOCPATH": str(folder), "LC_ALL": "tr_TR.UTF-8"}


@pytest.mark.slow
def test_a_turkish_run_has_the_bytes_of_an_english_one(turkish: dict[str, str], tmp_path: Path) -> None:
    mosaics = []
    for name, variables in (("tr", turkish), ("c", {"LC_ALL": "C"})):
        folder = tmp_path / name
        folder.mkdir()
        done = run('"$@" demo', folder, SOURCE_DATE_EPOCH="0", **variables)
        assert done.returncode == 0, done.stderr
        assert "CPLE_NotSupported" not in done.stderr
        (mosaic,) = folder.rglob("mosaic.tif")
        mosaics.append(mosaic.read_bytes())
    assert mosaics[0] == mosaics[1]


@pytest.mark.parametrize(
    ("script", "code"),
    [
        ('"$@" config >&-', 0),
        ('"$@" config 2>&-', 0),
        ('"$@" config <&- >&- 2>&-', 0),
        ('"$@" run - --output out <&-', 13),
        ('"$@" config >/dev/full', 1),
        ('"$@" run no.json --output out 2>/dev/full', 13),
        ('mkdir gone && cd gone && rmdir ../gone && "$@" run a.tif --output out', 2),
    ],
)
def test_streams_and_folders_that_are_missing_have_exit_codes_of_ours(script: str, code: int, tmp_path: Path) -> None:
    done = run(script, tmp_path)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    for line in done.stderr.splitlines():
        assert json.loads(line)["event"] != "crashed"


@pytest.mark.parametrize("delay", [0.08, 0.2, 0.4, 0.7])
def test_ctrl_c_in_the_first_second_is_no_traceback(delay: float, tmp_path: Path) -> None:
    # The interpreter's own start, before the program's first line, is nobody's: it is waited for.
    starter = "import sys; from processor.cli import main; print(flush=True); sys.exit(main(['run', '-', '--output', 'o']))"
    process = subprocess.Popen(
        [sys.executable, "-c", starter],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": ROOT},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.readline()
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(delay)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "Traceback" not in said


def test_proj_fetches_no_grids_whatever_the_environment_says(tmp_path: Path) -> None:
    """A grid for North America of 1927 is not in PROJ's package, and would be fetched."""
    script = (
        "from processor.cli import main; main(['config']); from pyproj import Transformer, network;"
        "x, _ = Transformer.from_crs(4267, 4326, always_xy=True).transform(-100, 40);"
        "print(network.is_network_enabled(), abs(x + 100) < 0.001)"
    )
    nobody = {
        "PROJ_NETWORK": "ON",
        "PROJ_NETWORK_ENDPOINT": "http://127.0.0.1:9",
        "PROJ_USER_WRITABLE_DIRECTORY": str(tmp_path),
    }
    environment = {**os.environ, "PYTHONPATH": ROOT, **nobody}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout.splitlines()[-1] == "False True"
