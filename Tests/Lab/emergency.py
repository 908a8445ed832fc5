"""The office of the 911 scenarios: three sites on one LAN, three carriers, and what every scenario asks of them.

    harbour   192.168.50.0/24 ─┐
    warehouse 192.168.51.0/24 ─┼─ lan ═ lan0 ─ box ─ wan0 ═ wan ─ carrier-a, carrier-b, carrier-c
    annex     192.168.52.0/24 ─┘

Times are of packets on the box's own interfaces, stamped by the kernel, never of scripts.
"""

import json
import math
import os
import re
import statistics
import struct

import capture
import pidflo
from daemon import DOMAIN
from labtest import LabTest
from namespaces import CARRIERS, LAN_BOX, WAN_BOX
from scenario import Called, Caller, pause, receive, reply

SITES = {"harbour": "192.168.50", "warehouse": "192.168.51", "annex": "192.168.52"}
NOWHERE = "192.168.53"  # on the LAN, at no site
TRUNKS = ("carrier-a", "carrier-b", "carrier-c")


def trunks(transports=(), more=()):
    """trunks.toml; `transports` names those of trunks that do not speak UDP, `more` has further lines by trunk."""
    return "".join(f'[trunks.{name}]\nrealm = "wan"\npeer = "{CARRIERS[index]}"\nattempt-timeout = "4s"\n'
                   f'transport = "{dict(transports).get(name, "udp")}"\nhealth = {{ enabled = false }}\n'
                   f'{dict(more).get(name, "")}\n'
                   for index, name in enumerate(TRUNKS))


def emergency(*first, more=""):
    """emergency.toml: the trunks asked first."""
    names = ", ".join(f'"{name}"' for name in first)
    return "[emergency]\n" + (f"trunks = [{names}]\n" if first else "") + more


ELINS = {"harbour": ("+13135550141", "+13135550142"), "warehouse": ("+13135550151",), "annex": ()}
PSAP = "+13135550911"  # of the annex, whose carrier wants the ten-digit number
# Each carrier is told in its own way: by number, by location, by both as NENA i3 wants it.
WAYS = {"carrier-a": 'emergency-location = "none"\nemergency-number = "elin"',
        "carrier-b": 'emergency-location = "pidf"\nemergency-number = "elin"\nemergency-uri = "service"\n'
                     'resource-priority = "esnet.1"',
        "carrier-c": 'emergency-location = "pidf"\nemergency-number = "caller"'}


def sites(locations=True):
    """sites.toml: each site has its own carrier first. Without `locations` nobody knows where anything is."""
    text = ""
    for index, (name, net) in enumerate(SITES.items()):
        text += (f'[sites.{name}]\nnetworks = ["{net}.0/24"]\ntrunks = ["{TRUNKS[index]}"]\n'
                 f'elins = [{", ".join(map(json.dumps, ELINS[name]))}]\n')
        if name == "annex":
            text += f'psap = "{PSAP}"\n'
        if locations:
            text += (f'address = {{ house-number = "{100 + index}", street = "Example", street-type = "Street", '
                     f'city = "Detroit", county = "Wayne", state = "MI", postal-code = "48201", floor = "{index + 1}" }}\n'
                     f'[[sites.{name}.subnets]]\nnetworks = ["{net}.103"]\nroom = "{index + 1}03 north"\n')
    return text


class EmergencyTest(LabTest):
    """One office per class. A test says in `figure` what the table shows of it."""
    first = ("carrier-a",)
    calls_max = 120
    extra = {}
    box = {}  # what else `daemon.configuration` shall know
    start = True  # False: the class starts the box itself
    figure = ""

    @classmethod
    def setUpClass(cls):
        cls.configuration = dict(
            start=cls.start, calls_max=cls.calls_max, health_interval=None, registration=False,
            extra={"trunks.toml": trunks(), "emergency.toml": emergency(*cls.first), **cls.extra}, **cls.box)
        super().setUpClass()
        network = cls.lab.network
        for net in (*list(SITES.values())[1:], NOWHERE):
            for host in range(101, 104):
                network.phones.ip("addr", "add", f"{net}.{host}/32", "dev", "lan")
            network.box.ip("route", "add", f"{net}.0/24", "dev", "lan0")
        # A carrier without socket answers each time: Linux would limit ICMP to one a second and address.
        network.carrier.run("sysctl", "-qw", "net.ipv4.icmp_ratelimit=0", "net.ipv4.icmp_msgs_per_sec=10000",
                            "net.ipv4.conf.all.promote_secondaries=1")

    def tearDown(self):
        for endpoint in self.lab.endpoints:
            endpoint.kill()
        for running in self.lab.captures:
            running.kill()
        self.lab.captures.clear()
        super().tearDown()

    # Who takes part ----------------------------------------------------------------------------------------------

    def answering(self, which=1, **options):
        return self.lab.carrier(Called(ring_time=20), which, digest=False, **options)

    def dead(self, kind, which=0):
        """A carrier of no use. ICMP and TCP refusal need nobody: no socket is there."""
        if kind.startswith("silent"):
            trying = [reply(100, "Trying", tagged=False)] if kind == "silent after 100" else []
            return self.lab.carrier([receive("INVITE"), *trying, pause(60000)], which, digest=False,
                                    options=["-default_behaviors", "none"])
        if kind == "503":
            return self.lab.carrier(Called().rejecting(503, "Service Unavailable"), which, digest=False)
        return None

    def call(self, number="911", user="8888", address=None, hold=200, calls=1, wait=True, **options):
        """A phone that never registered calls from `address`; the call must succeed."""
        return self.place(Caller(user, number, DOMAIN, hold=hold, extra=options.pop("headers", [])), address, calls,
                          wait, **options)

    def place(self, caller, address=None, calls=1, wait=True, **options):
        steps = caller.call() if isinstance(caller, Caller) else caller
        options.setdefault("timeout", 30)
        endpoint = self.lab.endpoint(self.lab.network.phones, "phone", steps, address or self.lab.phone("2003"),
                                     options.pop("port", None), f"{LAN_BOX}:5060", calls=calls, **options)
        if wait:
            self.assert_good(endpoint)
        return endpoint

    def configure(self, **files):
        """Replaces files of the configuration (name without .toml) and reloads."""
        mark = len(self.lab.daemon.log)
        self.lab.daemon.write({**self.lab.files, **{f"{name}.toml": text for name, text in files.items()}})
        self.lab.daemon.reload()
        self.lab.wait_for(lambda: any("configuration applied" in line or "nothing changed" in line
                                      for line in self.lab.daemon.log[mark:]), "the reload is done", 10, 0.02)

    def restore_configuration(self):
        self.configure()

    # What went over the wires -------------------------------------------------------------------------------------

    def watch_box(self, expression="port 5060 or icmp or tcp or (ip[6:2] & 0x3fff != 0)"):
        """Captures on both interfaces of the box; stop with `stop`."""
        pair = []
        for interface in ("lan0", "wan0"):
            path = os.path.join(self.lab.directory, self.lab._unique(interface) + ".pcap")
            pair.append(capture.Capture(self.lab.network.box, interface, path, expression, 4096))
        self.lab.captures += pair
        return pair

    def stop(self, pair):
        """The packets of both interfaces. Every location in them is one that others read, too."""
        both = [reassembled(each.stop()) for each in pair]
        for packet in both[1]:
            if packet.payload.startswith(b"INVITE ") and b"application/pidf+xml" in packet.payload:
                pidflo.check(packet.payload)
        return both

    def assert_placed_over(self, wan, which, user="911"):
        """The INVITEs that left asked this carrier for the number."""
        sent = [each for each in invites(wan, source=WAN_BOX) if each.destination == CARRIERS[which]]
        self.assertTrue(sent, f"no INVITE to {TRUNKS[which]}\n{self.box_log()}")
        for each in sent:
            self.assertEqual(each.user, user, each)


def reassembled(packets):
    """IPv4 datagrams put together again where their first fragment came (RFC 791 §3.2)."""
    whole, parts = [], {}
    for packet in packets:
        frame = packet.frame
        fragment = struct.unpack_from("!H", frame, 20)[0] if frame[12:14] == b"\x08\x00" else 0
        if not fragment & 0x3FFF:
            whole.append(packet)
        elif fragment & 0x1FFF:
            key = frame[26:34] + frame[18:20]
            if key in parts:
                first = whole[parts[key]]
                whole[parts[key]] = first._replace(payload=first.payload + packet.payload)
        else:
            parts[frame[26:34] + frame[18:20]] = len(whole)
            whole.append(packet)
    return whole


class Invite:
    """The first transmission of an INVITE outside a dialog."""

    def __init__(self, packet, text):
        self.time, self.source, self.destination, self.text = packet.time, packet.source, packet.destination, text
        self.uri = text.split(" ", 2)[1]
        self.user = re.sub(r"^sips?:([^@;>]*).*", r"\1", self.uri) if self.uri.startswith("sip") else self.uri
        self.call_id = header(text, "Call-ID|i")

    def __repr__(self):
        return f"INVITE {self.uri} to {self.destination}"


def header(text, name):
    found = re.search(rf"\r\n(?:{name})[ \t]*:[ \t]*([^\r]*)", text, re.I)
    return found.group(1) if found else None


def invites(packets, source=None, destination=None):
    """INVITEs that ask for a new call, in the order of their first transmission."""
    seen, found = set(), []
    for packet in packets:
        if not packet.payload.startswith(b"INVITE ") or (source and packet.source != source) \
                or (destination and packet.destination != destination):
            continue
        each = Invite(packet, packet.payload.decode(errors="replace"))
        if ";tag=" in (header(each.text, "To|t") or "") or (each.call_id, each.destination) in seen:
            continue
        seen.add((each.call_id, each.destination))
        found.append(each)
    return found


def asked(packets, address):
    """When a carrier was first asked: by an INVITE, or by the SYN of a connection for one."""
    return min((packet.time for packet in packets if packet.destination == address
                and (packet.protocol == "tcp" or packet.payload.startswith(b"INVITE "))), default=None)


def through(lan, wan):
    """Milliseconds from each INVITE in to the INVITE out, for calls that come one after the other; and how many came in."""
    arrived = invites(lan, destination=LAN_BOX)
    left = invites(wan, source=WAN_BOX)
    delays, next_out = [], 0
    for number, each in enumerate(arrived):
        until = arrived[number + 1].time if number + 1 < len(arrived) else float("inf")
        while next_out < len(left) and left[next_out].time < each.time:
            next_out += 1
        if next_out < len(left) and left[next_out].time < until:
            delays.append((left[next_out].time - each.time) / 1e6)
            next_out += 1
    return delays, len(arrived)


def percentile(values, share):
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * share) - 1)]


def summary(delays):
    return f"median {statistics.median(delays):.2f} ms, p99 {percentile(delays, 0.99):.2f} ms, {len(delays)} calls"
