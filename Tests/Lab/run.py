"""`make run`: real calls with real speech through the box, told as they happen, and a summary.

Exit 0 only if every call was answered, the kernel relayed packets both ways, and none was lost.
"""

import argparse
import sys
import time

import capture
import namespaces
from counters import relayed
from lab import Lab, say, stop_on_signals
from namespaces import CARRIERS, PHONES
from scenario import Called, Caller

HOLD_MARGIN = 900  # milliseconds: the speech has ended and arrived before the BYE


class Batch:
    """Calls of one kind, and what both captures saw of their speech."""

    def __init__(self, name, count, caller_interface="lan0", called_interface="wan0"):
        self.name, self.count = name, count
        self.interfaces = (caller_interface, called_interface)
        self.answered = self.failed = 0
        self.forward = capture.Direction("to the called")
        self.backward = capture.Direction("to the caller")
        self.kernel = None  # packets relayed (to the called, to the caller); both in the first on one interface

    def count_kernel(self, before, after):
        """Packets are counted where they arrive: those to the called arrive at the caller's interface."""
        moved = [after.get(name, 0) - before.get(name, 0) for name in self.interfaces]
        self.kernel = (moved[0], None) if self.interfaces[0] == self.interfaces[1] else tuple(moved)

    @property
    def in_kernel(self):
        return self.kernel is not None and all(count is None or count > 0 for count in self.kernel)

    @property
    def good(self):
        return (self.answered == self.count and self.failed == 0 and self.forward.sent > 0 and self.backward.sent > 0
                and self.forward.lost == 0 and self.backward.lost == 0)


def follow(endpoint, batch):
    """Waits for SIPp and tells the progress."""
    last = None
    while endpoint.process.poll() is None:
        time.sleep(0.5)
        now = (endpoint.count("CurrentCall"), endpoint.successful, endpoint.failed)
        if now != last and endpoint.statistics():
            say(f"{batch.name}: {now[0]} up, {now[1]} ended well, {now[2]} failed")
            last = now
    endpoint.wait()
    batch.answered, batch.failed = endpoint.successful, batch.count - endpoint.successful
    if batch.failed:
        say(f"{batch.name}: SIPp says:\n{endpoint.errors()}")


def speech(lab, batch, place, caller_side, called_side):
    """Runs `place()` under captures. A side is (capture index, addresses)."""
    before = relayed(lab.daemon) if lab.daemon else None
    watched = lab.watch("udp")
    endpoint = place()
    follow(endpoint, batch)
    packets = [each.stop() for each in watched]
    if any(each.dropped for each in watched):
        say(f"{batch.name}: the observers lost packets themselves: {[each.dropped for each in watched]}")
    near, far = packets[caller_side[0]], packets[called_side[0]]
    batch.forward.add(capture.rtp_from(near, caller_side[1]), capture.rtp_to(far, called_side[1]))
    batch.backward.add(capture.rtp_from(far, called_side[1]), capture.rtp_to(near, caller_side[1]))
    if before is not None:
        batch.count_kernel(before, relayed(lab.daemon))
    return batch


def path_without_box(offload, seconds):
    """The same calls with the box as a plain router: what the namespaces themselves cost."""
    with Lab(box=False, offload=offload) as lab:
        lab.carrier(Called(audio=lab.noise(seconds * 1000)).call(), digest=False)
        batch = Batch("plain router", 2)
        hold = seconds * 1000 + HOLD_MARGIN
        caller = Caller("2001", "95551234", audio=lab.noise(seconds * 1000), hold=hold)
        return speech(lab, batch, lambda: lab.from_station(
            caller, name="base", remote=f"{CARRIERS[0]}:5060", calls=2, rate=10, timeout=30),
            (0, PHONES), (1, CARRIERS))


def through_box(options):
    batches = []
    milliseconds = options.seconds * 1000
    hold = milliseconds + HOLD_MARGIN
    say(f"building phones, box and carrier; datapath {options.datapath}")
    with Lab(offload=options.offload, datapath=options.datapath, box_log=say, start=False) as lab:
        lab.carrier(Called(audio=lab.noise(milliseconds), ring=(183, 180)))
        lab.carrier(Called(audio=lab.noise(milliseconds)), which=1)
        lab.start_box()
        say("cressetd is ready")
        for user in ("2002", "2003"):
            lab.register(user)
            say(f"station {user} has registered with digest from {lab.phone(user)}")
            lab.station(user, Called(audio=lab.noise(milliseconds)))

        def from_station(name, called, count, called_side):
            say(f"{name}: station 2001 calls {called}, {count} times")
            caller = lab.caller("2001", called, audio=lab.noise(milliseconds), hold=hold)
            place = lambda: lab.from_station(caller, name="out", calls=count, rate=5, timeout=milliseconds // 1000 + 40)
            interface = "lan0" if called_side[0] == 0 else "wan0"
            batches.append(speech(lab, Batch(name, count, "lan0", interface), place, (0, [lab.phone("2001")]), called_side))

        from_station("station to trunk", "95551234", options.calls, (1, CARRIERS))

        say(f"trunk to station: carrier-a calls +13135552002, {options.calls} times")
        caller = Caller("+12125550199", "+13135552002", "203.0.113.1", audio=lab.noise(milliseconds), hold=hold,
                        from_domain="carrier.example")
        batches.append(speech(lab, Batch("trunk to station", options.calls, "wan0", "lan0"),
                              lambda: lab.from_carrier(caller, calls=options.calls, rate=5,
                                                       timeout=milliseconds // 1000 + 40),
                              (1, CARRIERS), (0, [lab.phone("2002")])))

        from_station("station to station", "2003", max(2, options.calls // 2), (0, [lab.phone("2003")]))
        say("taking everything down")
    if lab.exit_status != 0:
        say(f"cressetd did not end cleanly: {lab.exit_status}")
    return batches, lab.exit_status == 0


def kernel_cell(batch, index):
    if not batch.kernel:
        return "–"
    return "both ↑" if batch.kernel[index] is None else batch.kernel[index]


def table(batches, base):
    head = ("", "calls", "answered", "failed", "direction", "sent", "arrived", "lost", "in kernel", "delay p50 µs", "p99 µs",
            "over router p50 µs")
    rows = [head]
    for batch in ([base] if base else []) + batches:
        for index, (arrow, way) in enumerate((("→ called", batch.forward), ("→ caller", batch.backward))):
            reference = (base.forward, base.backward)[index] if base and batch is not base else None
            rows.append((
                batch.name if index == 0 else "", *((batch.count, batch.answered, batch.failed) if index == 0 else ("",) * 3),
                arrow, way.sent, way.seen, way.lost, kernel_cell(batch, index),
                f"{way.percentile(0.5):.1f}", f"{way.percentile(0.99):.1f}",
                f"{way.percentile(0.5) - reference.percentile(0.5):+.1f}" if reference else "–"))
    widths = [max(len(str(row[column])) for row in rows) for column in range(len(head))]
    for row in rows:
        print("  ".join(str(cell).ljust(width) if column in (0, 4) else str(cell).rjust(width)
                        for column, (cell, width) in enumerate(zip(row, widths))).rstrip())


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=10, help="calls of each kind")
    parser.add_argument("--seconds", type=int, default=4, help="speech per call")
    parser.add_argument("--datapath", default="auto", choices=("auto", "xdp", "tc", "ring", "off"))
    parser.add_argument("--no-offload", dest="offload", action="store_false",
                        help="finish checksums in software instead of leaving them to the NIC")
    options = parser.parse_args()
    reason = namespaces.missing_requirements()
    if reason:
        print(f"the lab cannot run: {reason}", file=sys.stderr)
        return 1
    stop_on_signals()
    say("measuring the same path with the box as a plain router")
    base = path_without_box(options.offload, min(options.seconds, 3))
    batches, clean = through_box(options)
    print()
    table(batches, base)
    kernel = sum(count or 0 for batch in batches for count in batch.kernel)
    sent = sum(batch.forward.sent + batch.backward.sent for batch in batches)
    lost = sum(batch.forward.lost + batch.backward.lost for batch in batches)
    answered, count = sum(batch.answered for batch in batches), sum(batch.count for batch in batches)
    good = clean and all(batch.good for batch in batches) and (
        options.datapath == "off" or all(batch.in_kernel for batch in batches))
    print(f"\n{count} calls, {answered} answered, {count - answered} failed; "
          f"{sent} packets of speech, {kernel} relayed in the kernel, {lost} lost")
    print("the lab: good" if good else "the lab: NOT GOOD")
    return 0 if good else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("\ninterrupted; everything is taken down", file=sys.stderr)
        sys.exit(130)
