"""What relaying a packet costs: every engine of ours and every peer, interleaved in one run.

One core generates, the other does everything else: the box and the sinks. Rounds go through all candidates in turn. For
each candidate and round:
cpu      (wall - idle - iowait of the box's core) / packets at the sinks, at RATE in bursts of BURST. It contains the
         sink and the waking; the base rows are that alone, "net" is without. "thread" is what the scheduler charged to
         the polling threads and the relay: nothing foreign, but no interrupts while idle.
rate     the most packets per second with at most 0.1 % lost, found by halving the interval.
program  what the kernel counts of a run of the BPF program (bpf_stats), apart from the other figures: counting costs.
latency  from the generator to the sink, packets one by one at LATENCY_RATE.
A figure is the median of the rounds. What others disturbed (more than 5 % of a core) is measured again, while time lasts.
"""

import os
import re
import signal
import statistics
import sys
import tempfile
import time

import candidates
import report
from machine import FOREIGN_MAX, GENERATOR_CORE, Foreign, Quiet, go_first, idle_seconds, thread_seconds
from processes import DidNotRun, Generator, ProgramTime, Sinks
from rtpengine import Rtpengine
from topology import CALLS, CARRIER, LAN, PHONE, WAN, Topology

ROUNDS = int(os.environ.get("ROUNDS", 3))
SECONDS = float(os.environ.get("SECONDS_EACH", 1.5))
RATE = int(os.environ.get("RATE", 100_000))
BURST = int(os.environ.get("BURST", 16))
LATENCY_RATE = 50_000
LOSS_MAX = 0.001
SEARCH_RATES = (40_000, 5_000_000)
SEARCH_STEPS, LATER_STEPS, LATER_WIDTH = 8, 4, 1.25
SEARCH_BURST = 64
ONLY = os.environ.get("ONLY", "")  # a pattern: just these rows, to look at one thing
STEP_SECONDS = max(0.2, SECONDS / 4)
LATE_SECONDS = 0.004  # what may be under way when the generator stops
SECONDS_MAX = float(os.environ.get("SECONDS_MAX", 360))
QUIET_SECONDS = float(os.environ.get("QUIET_SECONDS", 60))


class Bench:
    def __init__(self, build, wire):
        self.wire = wire
        self.tool, self.sockets, self.object, self.holder = (
            f"{build}/{name}" for name in ("relay-tool", "relay-sockets", "bench.bpf.o", "release/FastPathHolder"))
        self.quiet = Quiet(QUIET_SECONDS)
        self.generators = {}
        self.peer = self.peer_failure = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.forget_generators()
        if self.peer:
            self.peer.close()

    def rtpengine(self):
        """Started when first asked for. What kept it from starting is not tried again."""
        if self.peer_failure:
            raise DidNotRun(self.peer_failure)
        if not self.peer:
            try:
                self.peer = Rtpengine(self.wire, PHONE, LAN, WAN, CARRIER, CALLS)
            except DidNotRun as error:
                self.peer_failure = str(error)
                raise
        return self.peer

    def generator(self, candidate):
        key = "rtpengine" if candidate.name == candidates.RTPENGINE else "own"
        if key in self.generators and self.generators[key].has_ended():
            self.generators.pop(key).close()
        if key not in self.generators:
            ports = self.peer.ports if key == "rtpengine" else self.wire.own_ports
            flows = self.wire.flows_file(key, ports)
            self.generators[key] = Generator(self.tool, flows, self.wire.ends)
        return self.generators[key]

    def forget_generators(self):
        """After a failure, which may have left one in the middle of something."""
        while self.generators:
            self.generators.popitem()[1].close()

    def sinks(self, candidate):
        places = self.wire.box_ends if candidate.is_base else self.wire.ends
        return Sinks(self.tool, f"sink_{candidate.family}", places)


class Measurement:
    """One candidate, running."""

    def __init__(self, bench, candidate, sinks, workers):
        self.bench, self.candidate, self.sinks, self.workers = bench, candidate, sinks, workers
        self.generator = bench.generator(candidate)

    def undisturbed(self, measure):
        """The result of `measure`, measured again while others took more than their share."""
        self.bench.quiet.wait()
        while True:
            foreign, began = Foreign(), time.monotonic()
            result = measure()
            share = foreign.share()
            if share <= FOREIGN_MAX or not self.bench.quiet.may_repeat(time.monotonic() - began):
                return result, share

    def arrives(self):
        """Sends until the first packets have gone all the way: the start is over."""
        before = self.sinks.count()
        for _ in range(10):
            self.generator.start(CALLS * 20, 0.1, 1)
            self.generator.finish()
            if self.sinks.count() - before >= CALLS:
                return
        raise DidNotRun(f"{self.sinks.count() - before} of {CALLS * 20} packets arrived")

    def settled(self):
        """The sinks' count once nothing is under way any more; half a second at most."""
        count = self.sinks.count()
        for _ in range(25):
            time.sleep(0.02)
            before, count = count, self.sinks.count()
            if before == count:
                break
        return count

    def cpu(self):
        before = self.settled()
        self.generator.start(RATE, SECONDS + 0.3, BURST)
        time.sleep(0.2)
        count, idle, threads, wall = self.sinks.count(), idle_seconds(), thread_seconds(self.workers), time.monotonic()
        time.sleep(SECONDS)
        packets, idle = self.sinks.count() - count, idle_seconds() - idle
        threads, wall = thread_seconds(self.workers) - threads, time.monotonic() - wall
        sent, rate = self.generator.finish()
        if packets < CALLS:
            raise DidNotRun(f"{packets} packets of {RATE * SECONDS:.0f} arrived")
        return (wall - idle) * 1e9 / packets, threads * 1e9 / packets, 1 - (self.settled() - before) / sent, rate

    def program(self):
        """Nanoseconds of a run of the relay's program; None where the box has none."""
        if not self.candidate.has_program:
            return None
        with ProgramTime(self.bench.tool, self.bench.wire.box_ends[0], self.candidate.family) as program:
            self.generator.start(RATE, STEP_SECONDS, BURST)
            self.generator.finish()
            return program.nanoseconds()

    def latency(self):
        self.sinks.latencies()
        self.generator.start(LATENCY_RATE, SECONDS * 2 / 3, 1, stamps=True)
        self.generator.finish()
        self.settled()
        samples, *percentiles = self.sinks.latencies()
        if samples < CALLS:
            raise DidNotRun(f"{samples} packets of {LATENCY_RATE * SECONDS * 2 / 3:.0f} arrived")
        return percentiles

    def carried(self, rate):
        """(rate that left the generator, share lost) at this rate. A backlog that grows is not carried."""
        before = self.settled()
        self.generator.start(rate, STEP_SECONDS, SEARCH_BURST)
        sent, reached = self.generator.finish()
        behind = sent - (self.sinks.count() - before)
        lost = 1 - (self.settled() - before) / sent
        return reached, lost if behind <= LOSS_MAX * sent + reached * LATE_SECONDS else max(lost, behind / sent)

    def highest_rate(self, known):
        """(packets per second, True if the generator could not send more), around `known` if there is a `known`."""
        low, high = (known / LATER_WIDTH, known * LATER_WIDTH) if known else SEARCH_RATES
        best = 0
        for _ in range(LATER_STEPS if known else SEARCH_STEPS):
            rate = (low * high) ** 0.5
            for _ in range(2):  # one hiccup is not a limit
                reached, lost = self.carried(rate)
                if lost <= LOSS_MAX or lost > 0.05:
                    break
            if lost > LOSS_MAX:
                high = rate
                continue
            best = max(best, reached)
            if reached < rate * 0.95:
                return best, True
            low = rate
        return best, False


def measure(bench, candidate, result):
    """One round of one candidate, into its result."""
    with bench.sinks(candidate) as sinks, candidate.start(bench) as workers:
        polling = bench.wire.pin_receivers()
        run = Measurement(bench, candidate, sinks, polling + workers)
        run.arrives()
        (core, thread, loss, sent_rate), foreign = run.undisturbed(run.cpu)
        program = run.program()
        percentiles, foreign_latency = run.undisturbed(run.latency)
        known = statistics.median(result.rates) if result.rates else None
        (best, is_generator), foreign_rate = run.undisturbed(lambda: run.highest_rate(known))
    # All at once, so that every list has one figure a round.
    result.cores.append(core)
    result.threads.append(thread)
    result.programs += [program] if program else []
    result.losses.append(loss)
    result.latencies.append(percentiles)
    result.rates.append(best)
    result.foreign.append(max(foreign, foreign_latency, foreign_rate))
    result.sent_share = min(result.sent_share, sent_rate / RATE)
    result.is_generator |= is_generator


def one_round(bench, table, results, began):
    for candidate in table:
        result = results[candidate.name]
        if result.failure:
            continue
        try:
            measure(bench, candidate, result)
            outcome = ""
        except DidNotRun as error:
            result.failure = " ".join(str(error).split())
            outcome = f": did not run: {result.failure}"
            bench.forget_generators()
        print(f"{time.monotonic() - began:4.0f} s: {candidate.name}{outcome}", file=sys.stderr, flush=True)


def main():
    if os.geteuid() != 0:
        raise SystemExit("needs root: namespaces and BPF programs")
    if os.cpu_count() < 2:
        raise SystemExit("needs two cores: one generates, one is measured")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    os.sched_setaffinity(0, {GENERATOR_CORE})
    go_first()
    began = time.monotonic()
    table = [each for each in candidates.all_candidates() if re.search(ONLY, each.name)]
    results = {candidate.name: report.Result() for candidate in table}
    with tempfile.TemporaryDirectory() as directory, Topology(directory) as wire, \
            Bench(os.path.abspath(sys.argv[1]), wire) as bench:
        for rounds in range(1, ROUNDS + 1):
            one_round(bench, table, results, began)
            if time.monotonic() - began > SECONDS_MAX * rounds / (rounds + 1):
                break  # another round of this length would not fit
    print(f"{CALLS} calls in both directions, {RATE} packets/s in bursts of {BURST}; medians of {rounds} rounds of "
          f"{SECONDS:g} s ({ROUNDS} asked for); {time.monotonic() - began:.0f} s in all")
    return report.Report(table, results).print_all()


if __name__ == "__main__":
    sys.exit(main())
