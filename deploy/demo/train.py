"""``python -m deploy.demo.train`` makes the demo's bundle again, from made-up history.

It needs the ``training`` extra. The history is a week that ends where the live run
begins, on a Thursday. So the weekend is in the part that is fitted. The part that
calibrates is two working days, as is the live run. A few unlabelled faults are hidden
in it, as in anyone's history.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from deploy.demo.history import write_history

# Relative, so that no machine's paths get into the bundle's provenance. Run it from the
# repository's root.
HISTORY: Final = Path("build") / "demo-history"
CONFIG: Final = Path("deploy") / "demo" / "fit.toml"
BUNDLE: Final = Path("deploy") / "demo" / "bundle"
MAX_BYTES: Final = 1_000_000  # of the bundle, which the repository carries
# For people and not for the daemon: left out if the bundle is too heavy.
OPTIONAL: Final = ("report.html",)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m deploy.demo.train", description="train the demo's bundle"
    )
    parser.add_argument("--hosts", type=int, default=300)
    parser.add_argument("--days", type=float, default=7.0)
    parser.add_argument(
        "--faults", type=int, default=20, help="hidden in the history, unlabelled"
    )
    parser.add_argument("--out", type=Path, default=BUNDLE)
    options = parser.parse_args(arguments)
    data = HISTORY / "history.parquet"
    data.parent.mkdir(parents=True, exist_ok=True)
    write_history(data, hosts=options.hosts, days=options.days, faults=options.faults)
    command = [
        sys.executable,
        "-m",
        "training",
        "fit",
        "--data",
        str(data),
        "--out",
        str(options.out),
        "--force",
        "--config",
        str(CONFIG),
    ]
    code = subprocess.run(command, check=False).returncode
    data.unlink()
    if code:
        return code
    return _trim(options.out)


def _trim(bundle: Path) -> int:
    """Leave out what only people read. 1 if the bundle is still too heavy."""
    for name in OPTIONAL:
        if _size(bundle) > MAX_BYTES:
            (bundle / name).unlink(missing_ok=True)
    size = _size(bundle)
    print(f"{bundle}: {size:,} bytes")
    if size > MAX_BYTES:
        print(
            f"larger than {MAX_BYTES:,} bytes: train on fewer --hosts", file=sys.stderr
        )
        return 1
    return 0


def _size(bundle: Path) -> int:
    return sum(path.stat().st_size for path in bundle.iterdir())


if __name__ == "__main__":
    raise SystemExit(main())
