"""`make footprint`: size of the release build, memory at idle and per live call. Exits 1 at 16 MB or more."""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time

import namespaces
from counters import active_calls
from daemon import binary
from lab import Lab, stop_on_signals
from scenario import Called

LIMIT = 16 * 1024 * 1024


def stripped_size(path):
    tool = shutil.which("strip") or shutil.which("llvm-strip")
    command = [tool] if tool else [shutil.which("llvm-objcopy") or "objcopy", "--strip-all"]
    with tempfile.TemporaryDirectory() as directory:
        copy = os.path.join(directory, "cressetd")
        shutil.copy(path, copy)
        subprocess.run([*command, copy], check=True)
        return os.path.getsize(copy)


def settled(daemon):
    """Memory once the daemon has used no CPU for two seconds and its memory has stopped moving."""
    last = None
    for _ in range(30):
        before = daemon.cpu_seconds()
        time.sleep(2)
        memory = daemon.memory()
        if last is not None and daemon.cpu_seconds() - before < 0.02 and abs(memory["Rss"] - last["Rss"]) < 64:
            return memory
        last = memory
    return last


def mega(count):
    return f"{count / 1024 / 1024:.2f} MB"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=100, help="calls held to measure memory per call")
    options = parser.parse_args()
    stop_on_signals()
    size = stripped_size(binary("cressetd"))
    print(f"cressetd on disk, stripped   {mega(size)}  (limit {mega(LIMIT)})")
    reason = namespaces.missing_requirements()
    if reason:
        print(f"memory cannot be measured: {reason}", file=sys.stderr)
        return 1
    with Lab(calls_max=options.calls + 20) as lab:
        lab.carrier(Called())
        lab.carrier(Called(), which=1)
        idle = settled(lab.daemon)
        print(f"resident, idle               {mega(idle['Rss'] * 1024)}  (limit {mega(LIMIT)}; "
              f"PSS {mega(idle['Pss'] * 1024)}, private and written {mega(idle['Private_Dirty'] * 1024)})")
        hold = 25000
        caller = lab.from_station(lab.caller("2001", "95551234", hold=hold), calls=options.calls, rate=20,
                                  limit=options.calls + 10, timeout=90)
        lab.wait_for(lambda: active_calls(lab.daemon) >= options.calls, f"{options.calls} calls up", timeout=20)
        time.sleep(2)
        busy = lab.daemon.memory()
        per_call = (busy["Private_Dirty"] - idle["Private_Dirty"]) / options.calls
        print(f"resident, {options.calls} calls          {mega(busy['Rss'] * 1024)}: {per_call:.1f} kB per live call "
              f"(two legs, both answered)")
        if caller.wait() != 0:
            print(f"the held calls failed:\n{caller.errors()}", file=sys.stderr)
            return 1
    over = [name for name, value in (("size", size), ("idle memory", idle["Rss"] * 1024)) if value >= LIMIT]
    print("footprint: " + ("good" if not over else f"OVER: {', '.join(over)}"))
    return 1 if over else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
