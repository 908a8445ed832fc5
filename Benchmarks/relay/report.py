"""The figures as tables and the goals beside them."""

import statistics

from candidates import BASES, FLOORS, NATIVE, RING, RTPENGINE, SOCKETS, TC
from machine import FOREIGN_MAX


class Result:
    """What the rounds of one candidate gave, and why there are no more."""

    def __init__(self):
        self.failure = None
        self.cores, self.threads, self.programs = [], [], []  # ns per packet
        self.losses, self.rates, self.latencies, self.foreign = [], [], [], []
        self.sent_share = 1.0  # the least of what the generator should have sent at the fixed rate
        self.is_generator = False  # the highest rate is the generator's

    @property
    def core(self):
        return statistics.median(self.cores)

    @property
    def thread(self):
        return statistics.median(self.threads)

    @property
    def program(self):
        return statistics.median(self.programs) if self.programs else None

    @property
    def rate(self):
        return statistics.median(self.rates)

    @property
    def latency(self):
        """50th, 99th, 99.9th percentile, ns."""
        return [statistics.median(column) for column in zip(*self.latencies)]


class Table:
    """Columns of a width each; the first is the candidate's name."""

    def __init__(self, title, *columns):
        self.widths = [max(len(column) + 2, 9) for column in columns]
        print(f"\n{title:42}" + "".join(f"{text:>{width}}" for text, width in zip(columns, self.widths)))

    def row(self, name, *cells):
        print(f"{name:42}" + "".join(f"{text:>{width}}" for text, width in zip(cells, self.widths)))


def number(value, digits=0):
    return "" if value is None else f"{value:.{digits}f}"


def ratio(value, other):
    """Three digits that say something, or nothing where one is missing."""
    if value is None or not other:
        return ""
    quotient = value / other
    return f"{quotient:.2f}" if quotient >= 0.1 else f"{quotient:.3f}"


class Report:
    def __init__(self, table, results):
        self.table, self.results = table, results
        self.ran = {name: result for name, result in results.items() if result.cores and not result.failure}
        self.peer = self.ran.get(RTPENGINE)

    def rows(self):
        """(candidate, result, result of its bare redirect) of all that ran; names the others."""
        for candidate in self.table:
            result = self.ran.get(candidate.name)
            if result:
                yield candidate, result, self.ran.get(FLOORS[candidate.family])

    def net(self, candidate):
        """CPU ns per packet without sink and waking."""
        result, base = self.ran.get(candidate.name), self.ran.get(BASES[candidate.family])
        return result.core - base.core if result and base else None

    def named(self, name):
        return next((candidate for candidate in self.table if candidate.name == name), None)

    def print_cpu(self):
        table = Table("CPU, ns per packet", "core", "/ bare", "/ rtpengine", "net", "net / rtpengine", "program", "thread",
                      "loss", "foreign")
        peer = self.named(RTPENGINE)
        peer_net = self.net(peer) if peer else None
        for candidate, result, bare in self.rows():
            net = None if candidate.is_base else self.net(candidate)
            table.row(candidate.name, number(result.core), ratio(result.core, bare and bare.core),
                      ratio(result.core, self.peer and self.peer.core), number(net), ratio(net, peer_net),
                      number(result.program), number(result.thread), f"{max(result.losses):.3%}",
                      f"{max(result.foreign):.0%}")
        for candidate in self.table:
            if candidate.name not in self.ran:
                print(f"{candidate.name:42}  did not run: {self.results[candidate.name].failure or 'no figures'}")

    def print_rates(self):
        table = Table("loss-free packets/s, one core", "kpps", "/ bare", "/ rtpengine")
        for candidate, result, bare in self.rows():
            table.row(candidate.name, (">= " if result.is_generator else "") + number(result.rate / 1000),
                      ratio(result.rate, bare and bare.rate), ratio(result.rate, self.peer and self.peer.rate))

    def print_latencies(self):
        names = ("p50", "p99", "p99.9")
        table = Table("latency, us, and ratios", *names, *(f"{name} / bare" for name in names),
                      *(f"{name} / rtpengine" for name in names))
        for candidate, result, bare in self.rows():
            own = result.latency
            table.row(candidate.name, *(number(value / 1000, 1) for value in own),
                      *(ratio(value, bare and bare.latency[index]) for index, value in enumerate(own)),
                      *(ratio(value, self.peer and self.peer.latency[index]) for index, value in enumerate(own)))

    def goals(self):
        """(text, value or None, unit, limit, True if the limit is an upper one, rows compared)."""
        def over(name, other, value):
            candidates = self.named(name), self.named(other)
            if not all(candidate and candidate.name in self.ran for candidate in candidates):
                return None
            values = [value(candidate) for candidate in candidates]
            return values[0] / values[1] if values[0] is not None and values[1] and values[1] > 0 else None

        def core(candidate):
            return self.ran[candidate.name].core

        def rate(candidate):
            return self.ran[candidate.name].rate

        for name, family, limit in ((NATIVE, "xdp", 1.2), (TC, "tc", 1.1)):
            for row in self.fullest(name):
                yield f"{row} / bare redirect, CPU", over(row, FLOORS[family], core), "", limit, True, (row, FLOORS[family])
        for name in (NATIVE, TC):
            for row in self.fullest(name):
                yield f"rtpengine / {row}, CPU net of base", over(RTPENGINE, row, self.net), "", 12, False, (row, RTPENGINE)
        for name in (NATIVE, TC):
            for row in self.fullest(name):
                yield f"{row} / rtpengine, packets/s", over(row, RTPENGINE, rate), "", 8, False, (row, RTPENGINE)
        yield "ring / UDP sockets, packets/s", over(RING, SOCKETS, rate), "", 2.4, False, (RING, SOCKETS)
        yield "ring / rtpengine, packets/s", over(RING, RTPENGINE, rate), "", 3.5, False, (RING, RTPENGINE)
        for candidate in self.table:
            if candidate.is_tap:
                yield f"{candidate.name}: added", self.added(candidate), " ns", 80, True, (candidate.name, candidate.plain)

    def fullest(self, name):
        """The row and those that add to it, but for taps: the goals hold with everything on."""
        return [name] + [each.name for each in self.table if each.plain == name and not each.is_tap]

    def added(self, candidate):
        """CPU ns per packet on top of the row without it: the median over the rounds, neighbours in time."""
        own, plain = self.ran.get(candidate.name), self.ran.get(candidate.plain)
        if not own or not plain:
            return None
        return statistics.median(with_it - without for with_it, without in zip(own.cores, plain.cores))

    def print_goals(self):
        print("\ngoals")
        for text, value, unit, limit, is_most, names in self.goals():
            asked = f"{'<=' if is_most else '>='} {limit:g}{unit}"
            if value is None:
                print(f"  {text:72}{'-':>9}  {asked:10}  not measured")
                continue
            reached = value <= limit if is_most else value >= limit
            shown = f"{value:.0f}{unit}" if unit else f"{value:.2f}"
            doubt = ", but disturbed" if any(max(self.ran[name].foreign) > FOREIGN_MAX for name in names) else ""
            print(f"  {text:72}{shown:>9}  {asked:10}  {'reached' if reached else 'NOT REACHED'}{doubt}")

    def print_doubts(self):
        disturbed = [name for name, result in self.ran.items() if max(result.foreign) > FOREIGN_MAX]
        if disturbed:
            print(f"\nOthers took more than {FOREIGN_MAX:.0%} of a core, to the end of all patience, from: "
                  f"{'; '.join(disturbed)}")
        slow = [name for name, result in self.ran.items() if result.sent_share < 0.97]
        if slow:
            print(f"\nThe generator did not reach the fixed rate for: {'; '.join(slow)}")

    def print_all(self):
        """Returns the exit status: 0 if every candidate ran."""
        self.print_cpu()
        self.print_rates()
        self.print_latencies()
        self.print_goals()
        self.print_doubts()
        return 0 if len(self.ran) == len(self.table) else 1
