"""Pooled average precision over a dataset of BraTS-GLI's size: ours beside scikit-learn's.

Scores are drawn case by case, since 7·10⁹ of them do not fit into memory. Ours counts each case's
float16 scores and adds the counts up; scikit-learn gets as many scores at once as this machine
holds. Each side runs in a process of its own, which reports its seconds and its peak memory.
Drawing the scores is not timed on either side.

    python benchmarks/metrics.py [--cases 1251] [--peer-voxels N]
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from typing import Any

import numpy as np

SHAPE = (160, 224, 160)
VOXELS = int(np.prod(SHAPE))
#: Cases at which the time per case is compared: growth must be linear.
GROWTH = (10, 100, 1000)
#: scikit-learn's peak, measured here: 38 to 42 bytes a sample, scores and labels included.
_PEER_BYTES = 45


def drawn_case(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores as anomaly maps have them (half of the grid 0, ties, a long tail), and a lesion."""
    rng = np.random.default_rng(seed)
    score = rng.standard_exponential(SHAPE, np.float32)
    score *= 0.05
    score[: SHAPE[0] // 2] = 0
    lesion = np.zeros(SHAPE, bool)
    lesion[100:120, 100:130, 60:80] = True
    score[lesion] += 0.05
    return score, lesion


def ours(cases: int) -> dict[str, Any]:
    """Count `cases` cases and take the AP; seconds at each size of GROWTH on the way."""
    from dal_auto.scoring.metrics import average_precision
    from dal_auto.scoring.pooled_curve import ScoreCounts

    pooled, seconds, growth = ScoreCounts.empty(), 0.0, {}
    for index in range(cases):
        score, lesion = drawn_case(index)
        start = time.perf_counter()
        pooled = pooled + ScoreCounts.from_volume(score, lesion)
        if index + 1 in (*GROWTH, cases):
            value = average_precision(pooled)
        seconds += time.perf_counter() - start
        if index + 1 in GROWTH:
            growth[index + 1] = seconds / (index + 1)
        if (index + 1) % 100 == 0:
            print(f"  {index + 1} of {cases} cases, {seconds:.1f} s", file=sys.stderr)
    return {"ap": value, "seconds": seconds, "voxels": cases * VOXELS, "growth": growth}


def scikit_learn(voxels: int) -> dict[str, Any]:
    """scikit-learn's AP of `voxels` scores at once."""
    from sklearn.metrics import average_precision_score

    scores, labels = np.empty(voxels, np.float32), np.empty(voxels, bool)
    for place in range(0, voxels, VOXELS):
        score, lesion = drawn_case(place // VOXELS)
        end = min(place + VOXELS, voxels)
        # The scores that ours counts: rounded to float16.
        scores[place:end] = score.ravel()[: end - place].astype(np.float16)
        labels[place:end] = lesion.ravel()[: end - place]
    start = time.perf_counter()
    value = float(average_precision_score(labels, scores))
    return {"ap": value, "seconds": time.perf_counter() - start, "voxels": voxels}


def counted_by(workers: int, cases: int) -> bytes:
    """The pooled counts of `cases` cases, made by so many processes."""
    from dal_auto.scoring.pooled_curve import ScoreCounts
    from dal_auto.workers import Workforce, run_tasks

    seeds = list(range(cases))
    pooled = ScoreCounts.empty()
    for _, one in run_tasks(
        counted_case, seeds, [str(s) for s in seeds], workforce=Workforce(workers), title="count"
    ):
        pooled = pooled + one
    return pooled.lesion.tobytes() + pooled.normal.tobytes()


def counted_case(seed: int) -> Any:
    """Score counts of one case."""
    from dal_auto.scoring.pooled_curve import ScoreCounts

    return ScoreCounts.from_volume(*drawn_case(seed))


def in_own_process(side: str, size: int) -> dict[str, Any]:
    """Run one side alone, so that its peak memory is its own."""
    command = [sys.executable, __file__, "--side", side, "--size", str(size)]
    print(f"{side}: {size}", file=sys.stderr)
    result = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return dict(json.loads(result.stdout.splitlines()[-1]))


def available_bytes() -> int:
    """Memory that a new process may take."""
    for line in open("/proc/meminfo"):  # noqa: PTH123, SIM115
        if line.startswith("MemAvailable"):
            return int(line.split()[1]) * 1024
    raise OSError("no MemAvailable in /proc/meminfo")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=1251, help="as many as BraTS-GLI has")
    parser.add_argument("--peer-voxels", type=int, help="default: what memory holds")
    parser.add_argument("--side", choices=("ours", "scikit-learn"), help=argparse.SUPPRESS)
    parser.add_argument("--size", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        result = ours(options.size) if options.side == "ours" else scikit_learn(options.size)
        result["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
        print(json.dumps(result))
        return 0

    one = in_own_process("ours", 3)
    same = in_own_process("scikit-learn", 3 * VOXELS)
    apart = abs(one["ap"] - same["ap"])
    equal = counted_by(1, 6) == counted_by(2, 6)
    mine = in_own_process("ours", options.cases)
    peer_voxels = options.peer_voxels or int(0.85 * available_bytes() / _PEER_BYTES)
    peer = in_own_process("scikit-learn", peer_voxels)

    my_ns, peer_ns = (1e9 * r["seconds"] / r["voxels"] for r in (mine, peer))
    print(f"{'':14}{'voxels':>15}{'seconds':>10}{'ns/voxel':>10}{'peak MB':>10}{'AP':>12}")
    for name, row, ns in (("ours", mine, my_ns), ("scikit-learn", peer, peer_ns)):
        print(
            f"{name:14}{row['voxels']:15,}{row['seconds']:10.1f}{ns:10.1f}"
            f"{row['peak_mb']:10.0f}{row['ap']:12.6f}"
        )
    print(f"same {3 * VOXELS:,} scores: APs differ by {apart:.1e}")
    print(f"counts of one and of two processes are {'equal' if equal else 'DIFFERENT'}")
    growth = {int(cases): seconds for cases, seconds in mine["growth"].items()}
    for cases, seconds in growth.items():
        print(f"{cases:5} cases: {1000 * seconds:.1f} ms a case")
    print(
        json.dumps(
            {
                "benchmark": "metrics",
                "ratio": round(peer_ns / my_ns, 1),
                "peak_mb": round(mine["peak_mb"]),
                "voxels": mine["voxels"],
                "ns_per_voxel": round(my_ns, 1),
                "peer_ns_per_voxel": round(peer_ns, 1),
                "peer_voxels": peer["voxels"],
                "growth": round(max(growth.values()) / min(growth.values()), 2) if growth else None,
                "ap_difference": apart,
                "processes_equal": equal,
            }
        )
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
