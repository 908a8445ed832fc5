"""`make soak M=30`: calls at 20 per second for M minutes, with random hold, CANCEL and BYE timing.

Good when no call failed, memory stayed flat, and nothing is left when the calls are over.
"""

import argparse
import subprocess
import sys
import time

import namespaces
from counters import active_calls
from lab import Lab, say, stop_on_signals
from scenario import Called, Caller, linger

SPEECH = 1000  # milliseconds, on the calls that carry speech
WARM_UP = 0.25  # share of the run before memory must be flat,
WARM_UP_MIN = 1.5  # minutes at least: ended transactions and refused attempts are kept for 32 s and more
GROWTH_MAX = 512  # kilobytes over the rest of the run, or 3 %


def traffic(lab, minutes, rate):
    """The endpoints. Of 20 calls 14 go out (2 with speech), 4 come in (1 with speech), 2 stay inside."""
    for which in (0, 1):
        lab.carrier(Called().random_call(), which=which)
    lab.start_box()
    for user in ("2002", "2003"):
        lab.register(user)
        lab.station(user, Called().random_call() + [linger()])
    shares = [
        ("out", 0.60, lambda: lab.caller("2001", "95551234")),
        ("out-speech", 0.10, lambda: lab.caller("2001", "95551235", audio=lab.noise(SPEECH))),
        ("inside", 0.10, lambda: lab.caller("2001", "2003")),
        ("in", 0.15, lambda: outsider()),
        ("in-speech", 0.05, lambda: outsider(audio=lab.noise(SPEECH))),
    ]
    callers = []
    for name, share, caller in shares:
        count = max(1, round(rate * share * 60 * minutes))
        # SIPp wants whole calls per period: the period carries the fraction.
        options = dict(name=name, calls=count, rate=max(1, round(rate * share * 10)), limit=1000,
                       timeout=int(minutes * 60 + 120), options=["-rp", "10000"])
        place = lab.from_carrier if name.startswith("in") and name != "inside" else lab.from_station
        callers.append((count, place(caller().random_call(), **options)))
    return callers


def outsider(**options):
    return Caller("+12125550199", "+13135552002", "203.0.113.1", from_domain="carrier.example", **options)


def slope(samples):
    """Least squares: kilobytes per minute of (minute, kilobytes)."""
    count = len(samples)
    if count < 2:
        return 0.0
    mean_x = sum(x for x, _ in samples) / count
    mean_y = sum(y for _, y in samples) / count
    spread = sum((x - mean_x) ** 2 for x, _ in samples)
    return sum((x - mean_x) * (y - mean_y) for x, y in samples) / spread if spread else 0.0


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--rate", type=int, default=20)
    parser.add_argument("--datapath", default="auto")
    options = parser.parse_args()
    reason = namespaces.missing_requirements()
    if reason:
        print(f"the soak cannot run: {reason}", file=sys.stderr)
        return 1
    stop_on_signals()
    problems, samples = [], []
    with Lab(datapath=options.datapath, calls_max=1000, log_level="notice", start=False) as lab:
        callers = traffic(lab, options.minutes, options.rate)
        total = sum(count for count, _ in callers)
        say(f"{total} calls at {options.rate} per second, {options.minutes:g} minutes")
        began, cpu_before = time.monotonic(), lab.daemon.cpu_seconds()
        interval = min(30.0, max(2.0, options.minutes * 60 / 40))
        while any(endpoint.process.poll() is None for _, endpoint in callers):
            time.sleep(interval)
            if not lab.daemon.alive:
                problems.append("cressetd died: " + " / ".join(lab.daemon.log[-5:]))
                break
            minute = (time.monotonic() - began) / 60
            memory = lab.daemon.memory()
            done = sum(endpoint.successful for _, endpoint in callers)
            failed = sum(endpoint.failed for _, endpoint in callers)
            if done + failed < total * 0.97:  # the last seconds only drain
                samples.append((minute, memory["Rss"]))
            try:
                up = active_calls(lab.daemon)
            except (RuntimeError, subprocess.TimeoutExpired) as error:  # the next round tells whether it lives
                problems.append(f"no answer to `cresset status` after {minute:.1f} min: {error}")
                continue
            say(f"{minute:5.1f} min  {done:6} done  {failed} failed  {up:4} up  "
                f"RSS {memory['Rss']} kB  PSS {memory['Pss']} kB")
        seconds = time.monotonic() - began
        cpu = lab.daemon.cpu_seconds() - cpu_before if lab.daemon.alive else 0
        good = 0
        for count, endpoint in callers:
            status = endpoint.wait()
            good += endpoint.successful
            if status != 0 or endpoint.successful != count:
                problems.append(f"{endpoint.name}: {endpoint.successful} of {count} good, SIPp ended with {status}: "
                                f"{endpoint.errors(600)}")
        for endpoint in lab.endpoints:
            if endpoint not in [each for _, each in callers] and not endpoint.name.startswith("register") and endpoint.failed:
                problems.append(f"{endpoint.name}: {endpoint.failed} calls failed: {endpoint.errors(600)}")
        if lab.daemon.alive:
            try:
                lab.wait_for(lambda: active_calls(lab.daemon) == 0, "no call left", timeout=40)
            except AssertionError:
                problems.append(f"{active_calls(lab.daemon)} calls are left although every phone is silent")
    if lab.exit_status != 0:
        problems.append(f"cressetd did not end cleanly: {lab.exit_status}")

    warm = max(WARM_UP_MIN, samples[-1][0] * WARM_UP) if samples else 0
    steady = [sample for sample in samples if sample[0] >= warm]
    per_minute = slope(steady)
    growth = per_minute * (steady[-1][0] - steady[0][0]) if len(steady) > 1 else 0
    limit = max(GROWTH_MAX, 0.03 * steady[-1][1]) if steady else GROWTH_MAX
    if len(steady) < 4:
        problems.append(f"too short to judge memory: it takes {WARM_UP_MIN + 1} minutes at least")
    elif growth > limit:
        problems.append(f"memory grows: {growth:.0f} kB in the last {steady[-1][0] - steady[0][0]:.1f} min")
    print(f"""
calls        {total} in {seconds / 60:.1f} min, {good} good, {total - good} failed
memory       {steady[0][1] if steady else '?'} kB → {steady[-1][1] if steady else '?'} kB after warm-up, {per_minute:+.1f} kB/min ({growth:+.0f} kB; allowed {limit:.0f})
CPU          {cpu:.1f} s, {cpu / max(1, total) * 1000:.2f} ms per call""")
    for problem in problems:
        print(f"problem      {problem}")
    print("soak: good" if not problems else "soak: NOT GOOD")
    return 1 if problems else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("\ninterrupted; everything is taken down", file=sys.stderr)
        sys.exit(130)
