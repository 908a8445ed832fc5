"""Calls per second and CPU per call: cressetd beside Kamailio, the same SIPp on both sides, in the same run.

A call: INVITE, 180, 200, ACK, BYE, 200, at once. cressetd is a back-to-back user agent that also opens media for each
call; Kamailio is a stateful proxy with Record-Route and touches no media. So a ratio above 1 is expected; watch its change. On a machine of two cores SIPp takes its share of them: the
rates are what the whole arrangement reaches.
"""

import os
import statistics
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "Tests", "Lab"))

import namespaces  # noqa: E402
from lab import Lab, say, stop_on_signals  # noqa: E402
from namespaces import WAN_BOX  # noqa: E402
from scenario import Called, Caller, ok, receive  # noqa: E402

RATE, SECONDS, ROUNDS = 100, 8, 3
LADDER = (200, 400, 600, 800, 1200, 1600, 2400)


def called():
    """Answers at once."""
    parts = Called(ring_time=0)
    return [parts.invited(), parts.progress(), parts.accept(), receive("BYE"),
            ok()]


def caller():
    return Caller("+12125550199", "+13135552002", WAN_BOX, from_domain="carrier.example", hold=1)


def cpu_seconds(processes):
    total = 0
    for pid in processes:
        try:
            with open(f"/proc/{pid}/stat") as file:
                fields = file.read().rsplit(")", 1)[1].split()
            total += int(fields[11]) + int(fields[12])
        except FileNotFoundError:
            pass
    return total / os.sysconf("SC_CLK_TCK")


class Cresset:
    name = "Cresset"

    def __enter__(self):
        self.lab = Lab(calls_max=10_000, health_interval=None, registration=False, trunk_b=False, log_level="error").__enter__()
        self.lab.register("2002")
        return self

    def __exit__(self, *error):
        self.lab.__exit__(*error)


class Kamailio:
    name = "Kamailio"

    def __enter__(self):
        self.lab = Lab(box=False).__enter__()
        self.lab.network.box.run("sysctl", "-qw", "net.ipv4.ip_forward=0")
        log = open(os.path.join(self.lab.directory, "kamailio.log"), "wb")
        self.process = self.lab.network.box.start(
            "kamailio", "-f", os.path.join(HERE, "kamailio.cfg"), "-DD", "-m", "512", "-M", "32",
            "-Y", self.lab.directory, "-P", os.path.join(self.lab.directory, "pid"), stdout=log, stderr=subprocess.STDOUT)
        time.sleep(2)
        if self.process.poll() is not None:
            self.lab.__exit__(None, None, None)
            raise RuntimeError("Kamailio does not start; is another SIP server in the way?")
        return self

    def __exit__(self, *error):
        self.process.terminate()
        self.process.wait()
        self.lab.__exit__(*error)


def load(side, rate, seconds):
    """(failed calls, CPU milliseconds per call, calls per second reached)."""
    lab = side.lab
    count = rate * seconds
    station = lab.station("2002", called(), options=["-deadcall_wait", "0"])
    before, began = cpu_seconds(lab.network.box.processes()), time.monotonic()
    placed = lab.from_carrier(caller(), calls=count, rate=rate, limit=20000, timeout=seconds * 3 + 20,
                              options=["-deadcall_wait", "0"])
    placed.wait()
    took = time.monotonic() - began
    cpu = cpu_seconds(lab.network.box.processes()) - before
    station.kill()
    return count - placed.successful, cpu / count * 1000, placed.successful / took


def main():
    reason = namespaces.missing_requirements(("ip", "ethtool", "sipp", "kamailio"))
    if reason:
        print(f"not measured: {reason}", file=sys.stderr)
        return 1
    stop_on_signals()
    per_call, best = {}, {}
    with Cresset() as ours, Kamailio() as theirs:
        sides = (ours, theirs)
        samples = {side.name: [] for side in sides}
        for _ in range(ROUNDS):
            for side in sides:
                failed, cpu, reached = load(side, RATE, SECONDS)
                say(f"{side.name}: {RATE} calls/s, {failed} failed, {cpu:.2f} CPU-ms per call")
                samples[side.name].append(cpu)
        for side in sides:
            per_call[side.name] = statistics.median(samples[side.name])
            for rate in LADDER:
                failed, cpu, reached = load(side, rate, 5)
                say(f"{side.name}: {rate} calls/s: {failed} failed, reached {reached:.0f}, {cpu:.2f} CPU-ms per call")
                if failed > rate * 5 * 0.001:
                    break
                best[side.name] = rate
    print(f"\n{'':40}{'Cresset':>12}{'Kamailio':>12}{'ratio':>8}")
    print(f"{'CPU per call, ms, at ' + str(RATE) + '/s (median of ' + str(ROUNDS) + ')':40}"
          f"{per_call['Cresset']:12.2f}{per_call['Kamailio']:12.2f}{per_call['Cresset'] / per_call['Kamailio']:8.2f}")
    ours, theirs = best.get("Cresset", 0), best.get("Kamailio", 0)
    print(f"{'calls per second without failures':40}{ours:12}{theirs:12}{ours / theirs if theirs else 0:8.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
