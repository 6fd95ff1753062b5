"""A training step beside a busy process: OpenMP's threads that spin while they wait, or sleep.

    python benchmarks/waiting.py [--steps 20]

Each setting runs in a process of its own, since OpenMP reads it once. The busy process keeps one
core at work.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

STEPS = """
import sys, time
import torch
torch.manual_seed(0)
net = torch.nn.Sequential(
    torch.nn.Conv3d(1, 16, 3, padding=1), torch.nn.InstanceNorm3d(16), torch.nn.LeakyReLU(),
    torch.nn.Conv3d(16, 16, 3, padding=1), torch.nn.InstanceNorm3d(16), torch.nn.LeakyReLU(),
    torch.nn.Conv3d(16, 1, 1),
)
optimiser = torch.optim.Adam(net.parameters())
image = torch.rand(1, 1, 40, 56, 40)
for step in range(int(sys.argv[1]) + 2):
    if step == 2:  # the first two are for warming up
        start = time.perf_counter()
    optimiser.zero_grad()
    (net(image) - image).abs().mean().backward()
    optimiser.step()
print((time.perf_counter() - start) / int(sys.argv[1]))
"""
SETTINGS = {
    "spinning (torch's own)": {},
    "passive (ours)": {"OMP_WAIT_POLICY": "passive", "KMP_BLOCKTIME": "0"},
}


@contextmanager
def _busy_process() -> Iterator[None]:
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def _seconds_a_step(steps: int, setting: dict[str, str]) -> float:
    chosen = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "OMP_NUM_THREADS")
    plain = {name: value for name, value in os.environ.items() if name not in chosen}
    command = [sys.executable, "-c", STEPS, str(steps)]
    done = subprocess.run(command, env=plain | setting, capture_output=True, text=True, check=True)
    return float(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=20)
    steps = parser.parse_args().steps
    print(f"| {'waits':<24} | alone, s a step | beside a busy process |")
    print(f"|{'-' * 26}|----------------:|----------------------:|")
    found = {}
    for name, setting in SETTINGS.items():
        alone = _seconds_a_step(steps, setting)
        with _busy_process():
            beside = _seconds_a_step(steps, setting)
        print(f"| {name:<24} | {alone:15.3f} | {beside:21.3f} |")
        found[name] = {"alone_s": alone, "beside_s": beside}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
