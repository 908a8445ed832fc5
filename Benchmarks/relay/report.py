"""The figures as a table and the goals beside them."""

import statistics

from candidates import BASES, FLOORS, RTPENGINE, SOCKETS
from machine import FOREIGN_MAX


class Result:
    def __init__(self):
        self.failure = None
        self.cores, self.threads, self.losses, self.latencies, self.rates, self.foreign = [], [], [], [], [], []
        self.is_generator = False

    def add(self, core, thread, loss, rate, percentiles, best, is_generator, foreign):
        self.cores.append(core)
        self.threads.append(thread)
        self.losses.append(loss)
        self.latencies.append(percentiles)
        self.rates.append(best)
        self.foreign.append(foreign)
        self.is_generator |= is_generator

    @property
    def core(self):
        return statistics.median(self.cores)

    @property
    def thread(self):
        return statistics.median(self.threads)

    @property
    def rate(self):
        return statistics.median(self.rates)

    def latency(self, index):
        return statistics.median(each[index] for each in self.latencies)


def ratio(value, other, digits=2):
    return f"{value / other:.{digits}f}" if value is not None and other else "-"


def print_all(table, results):
    """Returns the exit status: 0 if every candidate ran."""
    ran = {name: result for name, result in results.items() if result.cores and not result.failure}
    peer = ran.get(RTPENGINE)
    print("\nCPU, ns per packet" + " " * 21 + "core     net  / bare  net / rtpengine  thread     net     loss  foreign")
    for candidate in table:
        result = ran.get(candidate.name)
        if not result:
            continue
        base, floor = ran.get(BASES[candidate.family]), ran.get(FLOORS[candidate.family])
        line = f"{candidate.name:36}{result.core:7.0f}"
        if candidate.is_base or not base:
            line += f"{'':31}{result.thread:8.0f}{'':8}"
        else:
            net = result.core - base.core
            peer_net = peer.core - ran[BASES["tc"]].core if peer and BASES["tc"] in ran else None
            line += f"{net:8.0f}{ratio(result.core, floor and floor.core):>8}{ratio(net, peer_net, 3):>15}"
            line += f"{result.thread:8.0f}{result.thread - base.thread:8.0f}"
        print(line + f"{max(result.losses):9.3%}{max(result.foreign):9.0%}")
    print("\nloss-free packets/s on one core      kpps  / bare  / rtpengine"
          "      latency, us   p50     p99   p99.9  / bare  / rtpengine (p50)")
    for candidate in table:
        result = ran.get(candidate.name)
        if not result:
            continue
        floor = ran.get(FLOORS[candidate.family])
        at_least = ">" if result.is_generator else " "
        p50 = result.latency(0)
        print(f"{candidate.name:36}{at_least}{result.rate / 1000:5.0f}{ratio(result.rate, floor and floor.rate):>8}"
              f"{ratio(result.rate, peer and peer.rate):>13}{'':13}"
              + "".join(f"{result.latency(index) / 1000:8.1f}" for index in range(3))
              + f"{ratio(p50, floor and floor.latency(0)):>8}{ratio(p50, peer and peer.latency(0)):>13}")
    print("\ngoals")
    for text, value, unit, limit, is_most in goals(ran):
        if value is None:
            print(f"  {text:64}{'not measured':>14}")
            continue
        reached = value <= limit if is_most else value >= limit
        print(f"  {text:64}{value:8.2f}{unit:3}{'<=' if is_most else '>='} {limit:<6g}"
              f"{'reached' if reached else 'NOT REACHED'}")
    failed = [candidate.name for candidate in table if candidate.name not in ran]
    for name in failed:
        print(f"\n{name}: did not run: {results[name].failure or 'not measured'}")
    if any(max(result.foreign) > FOREIGN_MAX for result in ran.values()):
        print(f"\nOthers took more than {FOREIGN_MAX:.0%} of a core during some figures: see the column foreign.")
    return 1 if failed else 0


def goals(ran):
    """(text, value or None, unit, limit, True if the limit is an upper one)."""
    def compare(make):
        try:
            return make()
        except (KeyError, ZeroDivisionError):
            return None

    native, tc, ring = "Cresset, native XDP", "Cresset, TC", "Cresset, ring"
    net = {name: ran[name].core - ran[BASES[family]].core
           for name, family in ((native, "xdp"), (tc, "tc"), (ring, "tc"), (RTPENGINE, "tc"))
           if name in ran and BASES[family] in ran}
    yield "native XDP / its bare redirect", compare(lambda: ran[native].core / ran[FLOORS["xdp"]].core), "", 1.2, True
    yield "TC / its bare redirect", compare(lambda: ran[tc].core / ran[FLOORS["tc"]].core), "", 1.1, True
    for name in (native, tc):
        yield (f"rtpengine / {name}, CPU net of the wake-up", compare(lambda: net[RTPENGINE] / net[name]), "", 12, False)
    for name in (native, tc):
        yield (f"{name} / rtpengine, packets/s on one core", compare(lambda: ran[name].rate / ran[RTPENGINE].rate), "", 8,
               False)
    yield "ring / UDP sockets, packets/s on one core", compare(lambda: ran[ring].rate / ran[SOCKETS].rate), "", 2.4, False
    yield "ring / rtpengine, packets/s on one core", compare(lambda: ran[ring].rate / ran[RTPENGINE].rate), "", 3.5, False
