"""Receiving and parsing a SIP message over UDP: the daemon's socket, a bare recvmmsg, and the packet ring, interleaved.

In turns: one thread sends sixteen messages, the stack takes them at once, and the same thread receives and parses them.
"stack" is the sending and the stack's share above that of "nobody reads", "read" the rest. Nothing waits, so others on
the machine disturb little.

Under load: one core sends, the other does everything else.
core    (wall - idle - iowait of the receiver's core) / messages: everything, the kernel's share and the waking included
thread  what the scheduler charged to the receiver and to the interface's polling thread: nothing of others

Figures are medians of the rounds, ratios to the daemon's socket. "No stack behind" is the ring with every frame dropped
right behind it, as if the kernel's own share of the way to the socket could be had for nothing: the most it could win.
"""

import os
import statistics
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "relay"))

from machine import BOX_CORE, FOREIGN_MAX, GENERATOR_CORE, Foreign, Quiet, idle_seconds, thread_seconds  # noqa: E402
from processes import DidNotRun, Held  # noqa: E402
from topology import LAN, Topology, run  # noqa: E402

ROUNDS = int(os.environ.get("ROUNDS", 7))
SECONDS = float(os.environ.get("SECONDS_EACH", 0.7))
QUIET_SECONDS = float(os.environ.get("QUIET_SECONDS", 20))
TURN_MESSAGES = 8_000
LOADS = {"one by one": (4_000, 1), "in bursts of 16": (40_000, 16)}
NOBODY, OURS, ONLY_RING = "the stack, nobody reads", "cressetd, socket", "ring, no stack behind"
WAYS = {NOBODY: "refuse", OURS: "socket", "bare recvmmsg of 32": "recvmmsg", "cressetd, ring": "ring",
        ONLY_RING: "ring"}
MESSAGE = os.path.join(HERE, "messages", "invite-sdp.sip")


class Bench:
    def __init__(self, build, wire):
        self.wire, self.quiet = wire, Quiet(QUIET_SECONDS)
        self.build = build
        self.sender = None
        run("tc", "-n", wire.box, "qdisc", "add", "dev", wire.l, "clsact")

    def receiver(self, name):
        return Held(BOX_CORE, os.path.join(self.build, "release", "receive-benchmark"), WAYS[name], self.wire.l, LAN,
                    self.wire.phones, MESSAGE, namespace=self.wire.box)

    def drop_behind_taps(self, wanted):
        """Frames end behind the packet sockets and before the stack."""
        verdict = ("bpf", "da", "bytecode", "1,6 0 0 2") if wanted else ()  # return TC_ACT_SHOT
        run("tc", "-n", self.wire.box, "filter", "add" if wanted else "del", "dev", self.wire.l, "ingress", "pref", "1",
            *verdict)

    def measured(self, name, measure, *arguments):
        if name == ONLY_RING:
            self.drop_behind_taps(True)
        try:
            with self.receiver(name) as receiver:
                return measure(receiver, *arguments)
        finally:
            if name == ONLY_RING:
                self.drop_behind_taps(False)

    def turns(self, receiver):
        """Nanoseconds per message of sending and stack, and of reading."""
        receiver.ask("turns 1600", 30)
        return tuple(map(int, receiver.ask(f"turns {TURN_MESSAGES}", 60).split()))

    def start_sender(self):
        # A veth whose sender segments hands a socket's datagrams on at the sender's core.
        run("ip", "netns", "exec", self.wire.phones, "ethtool", "-K", self.wire.p, "tso", "off")
        self.sender = Held(GENERATOR_CORE, os.path.join(self.build, "send_sip"), MESSAGE, LAN,
                           namespace=self.wire.phones)

    def send(self, rate, seconds, burst):
        return int(self.sender.ask(f"{rate} {seconds} {burst}", seconds + 10))

    def load(self, receiver, rate, burst):
        """(core, thread) nanoseconds per message, and how many arrived of those sent."""
        self.send(rate, 0.2, burst)  # pages, caches, neighbours
        threads = [receiver.pid, *self.wire.pin_receivers()]
        before, idle, began = int(receiver.ask("count")), idle_seconds(), time.monotonic()
        spent = thread_seconds(threads)
        sent = self.send(rate, SECONDS, burst)
        time.sleep(0.03)  # what is under way arrives
        spent = thread_seconds(threads) - spent
        busy = time.monotonic() - began - (idle_seconds() - idle)
        return busy * 1e9 / sent, spent * 1e9 / sent, (int(receiver.ask("count")) - before) / sent

    def undisturbed(self, *candidate):
        self.quiet.wait()
        while True:
            foreign, began = Foreign(), time.monotonic()
            result = self.measured(*candidate)
            share = foreign.share()
            if share <= FOREIGN_MAX or not self.quiet.may_repeat(time.monotonic() - began):
                return (*result, share)

    def close(self):
        if self.sender:
            self.sender.close()


def rounds(bench, ways, measure, arguments=()):
    """The medians of each way, column by column, all ways in turn in each round."""
    results = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name in ways:
            results[name].append(bench.undisturbed(name, measure, *arguments))
    return {name: [statistics.median(column) for column in zip(*values)] for name, values in results.items()}


def report_turns(middle):
    floor = middle[NOBODY][0]
    print(f"{'receive and parse, in turns on one core':52}{'stack ns':>10}{'read ns':>9}{'sum':>7}{'ratio':>7}")
    for name, (sending, reading, _) in middle.items():
        if name == NOBODY:
            print(f"  {name + ', sending included':50}{sending:10.0f}")
            continue
        whole = sending - floor + reading
        ours = middle[OURS][0] - floor + middle[OURS][1]
        print(f"  {name:50}{sending - floor:+10.0f}{reading:9.0f}{whole:7.0f}{whole / ours:7.2f}")


def report_load(title, rate, middle):
    print(f"{f'receive and parse, {rate} messages/s {title}':52}{'core ns':>10}{'thread ns':>11}{'ratio':>7}{'lost':>9}")
    for name, (core, thread, arrived, foreign) in middle.items():
        print(f"  {name:50}{core:10.0f}{thread:11.0f}{thread / middle[OURS][1]:7.2f}{max(0, 1 - arrived):9.2%}"
              + (f"   others took {foreign:.0%}: compare threads" if foreign > FOREIGN_MAX else ""))


def main():
    with tempfile.TemporaryDirectory() as directory, Topology(directory) as wire:
        wire.pin_receivers()
        bench = Bench(sys.argv[1], wire)
        try:
            report_turns(rounds(bench, WAYS, bench.turns))
            bench.start_sender()
            readers = [name for name in WAYS if name != NOBODY]
            for title, load in LOADS.items():
                report_load(title, load[0], rounds(bench, readers, bench.load, load))
        finally:
            bench.close()
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except DidNotRun as error:
        sys.exit(f"receive.py: {error}")
