"""`make loss`: 5 % of all signalling datagrams vanish on every wire and in each direction; every call completes."""

import argparse
import sys

import namespaces
from lab import Lab, say, stop_on_signals
from scenario import Called, Caller, linger

LINGER = 15000  # milliseconds an endpoint stays to answer repeated requests
# SIPp aborts a call when a repetition comes at a step where it does not know it for one, such as an INVITE repeated
# because both answers to it were lost. Here it goes on instead: a call that misses anything it needs still fails, by
# its own timeouts.
GOES_ON = ["-default_behaviors", "all,-abortunexp"]


def drop(network, percent):
    """Loses arriving SIP in all three namespaces; False where this kernel's packet filter cannot."""
    rules = ((network.box, "--dport"), (network.phones, "--sport"), (network.carrier, "--sport"))
    try:
        for namespace, side in rules:
            namespace.run("iptables", "-A", "INPUT", "-p", "udp", side, "5060", "-m", "statistic", "--mode", "random",
                          "--probability", str(percent / 100), "-j", "DROP")
        return True
    except (RuntimeError, FileNotFoundError) as error:
        say(f"the packet filter cannot drop at random ({error}); SIPp drops instead")
        return False


def dropped(network):
    total = 0
    for namespace in (network.box, network.phones, network.carrier):
        for line in namespace.run("iptables", "-L", "INPUT", "-v", "-x", "-n").splitlines():
            if "DROP" in line and "statistic" in line:
                total += int(line.split()[0])
    return total


def known(called):
    return Caller("2001", called, hold=(500, 3000))


def lossy_calls(lab, percent, calls, rate=10):
    """Places calls of three kinds at once; returns problems. The registrations are done before the loss begins."""
    for which in (0, 1):
        lab.carrier(Called().call_despite_loss(), which=which, options=GOES_ON)
    # The callers have registered from the ports they call from, so they are not challenged again: SIPp cannot tell a
    # challenge repeated after a lost ACK from an answer. Digest under loss is tested in the engines, in virtual time.
    for user, port in (("2001", 6001), ("2001", 6002), ("2002", 5060), ("2003", 5060)):
        lab.register(user, port=port)
    filtered = drop(lab.network, percent)
    lost = [] if filtered else ["-lost", str(percent)]
    stations = [lab.station(user, Called().call_despite_loss() + [linger(LINGER)], options=lost + GOES_ON)
                for user in ("2002", "2003")]
    common = dict(calls=calls, rate=rate, limit=500, timeout=150, options=lost)
    outsider = Caller("+12125550199", "+13135552002", "203.0.113.1", from_domain="carrier.example", hold=(500, 3000))
    callers = [
        lab.from_station(known("95551234"), name="out", port=6001, **common),
        lab.from_carrier(outsider, name="in", **common),
        lab.from_station(known("2003"), name="inside", port=6002, **common),
    ]
    problems = []
    for caller in callers:
        status = caller.wait()
        say(f"{caller.name}: {caller.successful} of {calls} calls completed, {caller.count('Retransmissions(C)')} repeats")
        if status != 0 or caller.successful != calls:
            problems.append(f"{caller.name}: {calls - caller.successful} calls failed: {caller.errors(800)}")
    problems += [f"{station.name}: {station.failed} failed: {station.errors(400)}" for station in stations if station.failed]
    if filtered:
        count = dropped(lab.network)
        say(f"{count} datagrams were dropped on the way")
        if count == 0:
            problems.append("nothing was dropped: the run proves nothing")
    return problems


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--percent", type=float, default=5)
    parser.add_argument("--calls", type=int, default=200, help="calls of each of three kinds")
    options = parser.parse_args()
    reason = namespaces.missing_requirements()
    if reason:
        print(f"the lab cannot run: {reason}", file=sys.stderr)
        return 1
    stop_on_signals()
    # Pings would fail by chance too: the trunk's health is another test's subject.
    with Lab(health_interval="60s", attempt_timeout="10s", calls_max=500) as lab:
        problems = lossy_calls(lab, options.percent, options.calls)
    for problem in problems:
        print(f"problem: {problem}")
    print(f"loss {options.percent:g} %: {'every call completed' if not problems else 'NOT GOOD'}")
    return 1 if problems else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
