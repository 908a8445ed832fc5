"""Everything that is measured: a name, what its figures are net of, and how it is started in the box."""

import contextlib
import os
import subprocess

from machine import BOX_CORE, GENERATOR_CORE
from processes import DidNotRun, Held
from topology import run

BASES = {"xdp": "base, native XDP (sink only)", "tc": "base, TC (sink only)"}
FLOORS = {"xdp": "bare redirect, native XDP", "tc": "bare redirect, TC"}
NATIVE, TC, RING = "Cresset, native XDP", "Cresset, TC", "Cresset, ring"
SOCKETS, NAT, RTPENGINE = "UDP sockets, recvmmsg/sendmmsg", "kernel NAT (nftables)", "rtpengine, user space"


class Candidate:
    """`start(bench)` is a context manager that runs it and gives the processes that do its work.

    `family` says of what kind the sinks are, and so which base and bare redirect it is compared with.
    """

    def __init__(self, name, family, start, has_program=False, plain=None, is_tap=False):
        self.name, self.family, self.start, self.has_program = name, family, start, has_program
        self.is_base = name in BASES.values()
        self.plain, self.is_tap = plain, is_tap  # the name of the row without what this one adds


@contextlib.contextmanager
def nothing(bench):
    yield []


def bare(kind):
    @contextlib.contextmanager
    def start(bench):
        wire = bench.wire
        places = (f"{wire.box}/{wire.l}={wire.w}", f"{wire.box}/{wire.w}={wire.l}")
        with Held(BOX_CORE, bench.tool, "hold", bench.object, f"bare_{kind}", *places):
            yield []
    return start


def cresset(engine, *options):
    """The fast path, held as Tests/FastPathHolder holds it."""
    @contextlib.contextmanager
    def start(bench):
        wire = bench.wire
        with Held(BOX_CORE, bench.holder, *options, f"{wire.l}={engine}", f"{wire.w}={engine}", *wire.flows(),
                  namespace=wire.box) as held:
            for name in (wire.l, wire.w):
                if not any(line.startswith(f"{name} {engine} ") for line in held.said):
                    raise DidNotRun(f"asked for {engine} and got: {' / '.join(held.said)[:200]}")
            if "--tap" in options:  # who reads the copies is not the box
                for thread in os.listdir(f"/proc/{held.pid}/task"):
                    with open(f"/proc/{held.pid}/task/{thread}/comm") as comm:
                        if comm.read().strip() == "tap-reader":
                            os.sched_setaffinity(int(thread), {GENERATOR_CORE})
            yield [held.pid] if engine == "ring" else []
    return start


@contextlib.contextmanager
def sockets(bench):
    with Held(BOX_CORE, bench.sockets, *bench.wire.pairs(), namespace=bench.wire.box) as held:
        yield [held.pid]


def nat_rules(wire):
    """Each call is one connection, whichever side sends first."""
    destinations, sources = [], []
    for flow in wire.flows():
        local, _, source, destination = flow.replace(":", " . ").split(",")
        destinations.append(f"{local} : {destination}")
        sources.append(f"{destination} : {source}")
    kind = "type ipv4_addr . inet_service : ipv4_addr . inet_service"
    return f"""table ip bench {{
        map destinations {{ {kind}; elements = {{ {", ".join(destinations)} }} }}
        map sources {{ {kind}; elements = {{ {", ".join(sources)} }} }}
        chain prerouting {{ type nat hook prerouting priority dstnat; dnat to ip daddr . udp dport map @destinations; }}
        chain postrouting {{ type nat hook postrouting priority srcnat; snat to ip daddr . udp dport map @sources; }}
    }}"""


@contextlib.contextmanager
def nat(bench):
    box = bench.wire.box
    run("ip", "netns", "exec", box, "sysctl", "-qw", "net.ipv4.ip_forward=1")
    try:
        run("ip", "netns", "exec", box, "nft", "-f", "-", input=nat_rules(bench.wire))
        yield []
    finally:
        subprocess.run(["ip", "netns", "exec", box, "nft", "delete table ip bench"], check=False, capture_output=True)
        run("ip", "netns", "exec", box, "sysctl", "-qw", "net.ipv4.ip_forward=0")


@contextlib.contextmanager
def rtpengine(bench):
    peer = bench.rtpengine()
    peer.resume()
    try:
        yield [peer.process.pid]
    except DidNotRun as error:
        raise DidNotRun(f"{error} {peer.last_words()}") from None
    finally:
        peer.pause()


def all_candidates():
    return [Candidate(BASES["xdp"], "xdp", nothing),
            Candidate(FLOORS["xdp"], "xdp", bare("xdp"), has_program=True),
            Candidate(NATIVE, "xdp", cresset("xdp"), has_program=True),
            Candidate(f"{NATIVE}, shield on", "xdp", cresset("xdp", "--shield"), has_program=True, plain=NATIVE),
            Candidate(f"{NATIVE}, tap of every packet", "xdp", cresset("xdp", "--tap"), has_program=True, plain=NATIVE,
                      is_tap=True),
            Candidate(BASES["tc"], "tc", nothing),
            Candidate(FLOORS["tc"], "tc", bare("tc"), has_program=True),
            Candidate(TC, "tc", cresset("tc"), has_program=True),
            Candidate(f"{TC}, shield on", "tc", cresset("tc", "--shield"), has_program=True, plain=TC),
            Candidate(f"{TC}, tap of every packet", "tc", cresset("tc", "--tap"), has_program=True, plain=TC, is_tap=True),
            Candidate(RING, "tc", cresset("ring")),
            Candidate(f"{RING}, tap of every packet", "tc", cresset("ring", "--tap"), plain=RING, is_tap=True),
            Candidate(SOCKETS, "tc", sockets),
            Candidate(NAT, "tc", nat),
            Candidate(RTPENGINE, "tc", rtpengine)]
