"""How long does `shim inspect` of a real quote with all collateral take, from nothing to its last line?"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

from tests import vectors


def measure(n: int) -> dict[str, float]:
    """Return the least and the median of `n` runs, in milliseconds; nothing where there is no real quote."""
    case = next((one for one in vectors.load("dcap") if one.id == "tdx/phala-v4-uptodate"), None)
    if case is None or case.time is None:
        return {}
    command = [
        str(Path(sys.executable).with_name("shim")), "inspect", str(case.files["quote"]), "--tee", "tdx",
        "--endorsements", str(case.files["collateral"]), "--at", case.time.isoformat(),
    ]  # fmt: skip
    times = []
    for _ in range(n):
        begin = time.perf_counter()
        subprocess.run(command, capture_output=True, check=True)
        times.append((time.perf_counter() - begin) * 1000)
    return {"least_ms": round(min(times)), "median_ms": round(median(times))}


if __name__ == "__main__":
    print(json.dumps(measure(25)))
