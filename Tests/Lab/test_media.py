"""Speech through the kernel: both data paths, strangers, closed ports, and what one side may know of the other."""

import re
import socket
import struct
import time
import unittest

import capture
from counters import active_calls, attachments, relayed
from daemon import configuration
from labtest import LabTest
from namespaces import CARRIERS, LAN_BOX, PHONES, STRANGER, STRANGER_LAN, WAN_BOX, run
from scenario import Called

SPEECH = 800
HOLD = SPEECH + 500


class Datapath:
    """The same calls over each data path."""
    kind = None

    def carrier(self):
        endpoint = self.lab.carrier(Called(audio=self.lab.noise(SPEECH)), digest=False)
        self.addCleanup(endpoint.kill)

    def test_out(self):
        """speech station ⇄ trunk goes through the kernel, all of it"""
        self.carrier()
        found = attachments(self.lab.network.box)
        kinds = {("lan0", self.kind), ("wan0", self.kind)} if self.kind else set()
        self.assertEqual({key for key in found if key[1] == self.kind}, kinds, found)
        before = relayed(self.lab.daemon)
        there, back = self.assert_calls_with_speech(self.lab.caller(audio=self.lab.noise(SPEECH), hold=HOLD), calls=3)
        after = relayed(self.lab.daemon)
        # The first packets of a flow may go through user space while the table is written.
        self.assertGreaterEqual(after["lan0"] - before["lan0"], there.sent * 0.9)
        self.assertGreaterEqual(after["wan0"] - before["wan0"], back.sent * 0.9)

    def test_hairpin(self):
        """speech between two phones on one interface goes through the kernel"""
        self.lab.register("2003")
        endpoint = self.lab.station("2003", Called(audio=self.lab.noise(SPEECH)))
        self.addCleanup(endpoint.kill)
        watched = self.lab.watch("udp")
        self.assert_good(self.lab.from_station(
            self.lab.caller(called="2003", audio=self.lab.noise(SPEECH), hold=HOLD), calls=2, rate=5, timeout=15))
        self.assert_hairpin(watched[0].stop(), [self.lab.phone("2001")], [self.lab.phone("2003")])


class Translated:
    """An IPv6 phone and an IPv4 trunk: both directions are translated, in the kernel."""

    def test_families(self):
        """speech IPv6 station ⇄ IPv4 trunk goes through the kernel, with checksums the far kernel accepts"""
        endpoint = self.lab.carrier(Called(audio=self.lab.noise(SPEECH)), digest=False)
        self.addCleanup(endpoint.kill)
        before = relayed(self.lab.daemon)
        refused = [self.refused(namespace) for namespace in (self.lab.network.phones, self.lab.network.carrier)]
        there, back = self.assert_calls_with_speech(
            self.lab.caller(user="2006", audio=self.lab.noise(SPEECH), hold=HOLD), calls=3, user="2006")
        after = relayed(self.lab.daemon)
        self.assertGreaterEqual(after["lan0"] - before["lan0"], there.sent * 0.9)
        self.assertGreaterEqual(after["wan0"] - before["wan0"], back.sent * 0.9)
        self.assertEqual([self.refused(namespace) for namespace in (self.lab.network.phones, self.lab.network.carrier)],
                         refused, "datagrams with a wrong checksum")

    @staticmethod
    def refused(namespace):
        """Headers or datagrams the far kernel took for damaged."""
        text = namespace.run("nstat", "-asz", "IpInHdrErrors", "UdpInCsumErrors", "Ip6InHdrErrors", "Udp6InCsumErrors")
        return {line.split()[0]: int(line.split()[1]) for line in text.splitlines() if not line.startswith("#")}


TRUNK_ALONE = dict(health_interval=None, registration=False, trunk_b=False)


class TC(Datapath, Translated, LabTest):
    kind = "tc"
    configuration = dict(datapath="tc", **TRUNK_ALONE)  # checksums left to the virtual NIC


class TCFinishedChecksums(Datapath, Translated, LabTest):
    kind = "tc"
    offload = False
    configuration = dict(datapath="tc", **TRUNK_ALONE)


class XDP(Datapath, Translated, LabTest):
    kind = "xdp"
    offload = False
    configuration = dict(datapath="xdp", **TRUNK_ALONE)


class Ring(Datapath, Translated, LabTest):
    """No program is attached; counters tell that the rings relay."""
    configuration = dict(datapath="ring", **TRUNK_ALONE)  # checksums left to the virtual NIC


class Switching(LabTest):
    configuration = dict(datapath="tc", **TRUNK_ALONE)
    speech = 6000

    def test_live_call(self):
        """SIGHUP takes a live call from TC to rings, to TC, to rings, to sockets and back to TC: not a packet is lost"""
        endpoint = self.lab.carrier(Called(audio=self.lab.noise(self.speech)), digest=False)
        self.addCleanup(endpoint.kill)
        watched = self.lab.watch("udp")
        caller = self.lab.from_station(self.lab.caller(audio=self.lab.noise(self.speech), hold=self.speech + 600), calls=2,
                                       timeout=20)
        self.lab.wait_for(lambda: active_calls(self.lab.daemon) == 2, "the calls are up")
        for datapath, mode, path in (("ring", "ring", "ring"), ("tc", "tc", "kernel"), ("ring", "ring", "ring"),
                                     ("off", "none", "socket"), ("tc", "tc", "kernel")):
            self.lab.daemon.write(configuration(datapath=datapath, **TRUNK_ALONE))
            before = sum(relayed(self.lab.daemon).values())
            self.lab.daemon.reload()
            self.lab.wait_for(lambda: {each["mode"] for each in self.lab.daemon.status()["datapath"]} == {mode}, mode, 5)
            # A flow is there once its source is known: after the first packets.
            self.lab.wait_for(lambda: {flow["path"] for call in self.lab.daemon.calls()["calls"] for flow in call["flows"]}
                              == {path}, f"all flows are on {path}", 5)
            if path != "socket":
                self.lab.wait_for(lambda: sum(relayed(self.lab.daemon).values()) > before + 20, f"{path} relays", 5)
        self.assertEqual(active_calls(self.lab.daemon), 2, "the calls are still up")
        self.assert_good(caller)
        phones, carrier = (each.stop() for each in watched)
        self.assert_complete(
            capture.Direction("to the trunk").add(capture.rtp_from(phones, PHONES), capture.rtp_to(carrier, CARRIERS)),
            capture.Direction("to the phone").add(capture.rtp_from(carrier, CARRIERS), capture.rtp_to(phones, PHONES)))


class Strangers(LabTest):
    configuration = TRUNK_ALONE
    speech = 5000

    def bind(self, namespace, address):
        with namespace.entered():
            sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sender.bind((address, 0))
        self.addCleanup(sender.close)
        return sender

    def test_injected_speech(self):
        """RTP from a wrong source is not delivered, on either side, and disturbs nobody"""
        endpoint = self.lab.carrier(Called(audio=self.lab.noise(self.speech)), digest=False)
        self.addCleanup(endpoint.kill)
        watched = self.lab.watch("udp")
        caller = self.lab.from_station(self.lab.caller(audio=self.lab.noise(self.speech), hold=self.speech + 600), calls=1,
                                       timeout=20)
        time.sleep(3.6)  # the learning window of 3 s is over
        ports = {}
        for index, (side, box) in enumerate((("lan", LAN_BOX), ("wan", WAN_BOX))):
            for packet in capture.read_pcap(watched[index].path):
                if packet.destination == box and capture.rtp_key(packet):
                    ports[side] = packet.destination_port
        self.assertEqual(set(ports), {"lan", "wan"}, "speech runs on both sides")
        marks = {"wan": b"stranger on the wan.", "lan": b"stranger on the lan."}
        for side, namespace, address, box in (("wan", self.lab.network.carrier, STRANGER, WAN_BOX),
                                              ("lan", self.lab.network.phones, STRANGER_LAN, LAN_BOX),
                                              ("wan", self.lab.network.carrier, CARRIERS[1], WAN_BOX)):
            sender = self.bind(namespace, address)
            for number in range(30):
                header = struct.pack("!BBHII", 0x80, 0, number, number * 160, 0x0BADCAFE)
                sender.sendto(header + (marks[side] * 8)[:160], (box, ports[side]))
            sender.setblocking(False)
            time.sleep(0.1)
            with self.assertRaises(BlockingIOError, msg="the stranger gets nothing back"):
                sender.recv(2048)
        self.assert_good(caller)
        phones, carrier = (each.stop() for each in watched)
        for name, packets, mark in (("phone", phones, marks["wan"]), ("trunk", carrier, marks["lan"])):
            self.assertFalse([packet for packet in packets if mark in packet.payload], f"a stranger spoke to the {name}")
        there = capture.Direction("to the trunk").add(capture.rtp_from(phones, PHONES), capture.rtp_to(carrier, CARRIERS))
        back = capture.Direction("to the phone").add(
            capture.rtp_from([p for p in carrier if p.source == CARRIERS[0]], CARRIERS), capture.rtp_to(phones, PHONES))
        self.assert_complete(there, back)

    def test_closed_ports(self):
        """media to ports without a call: silence, no ICMP"""
        watched = self.lab.watch("icmp or icmp6 or udp")
        for namespace, address, box, first in ((self.lab.network.carrier, STRANGER, WAN_BOX, 30000),
                                               (self.lab.network.phones, PHONES[0], LAN_BOX, 20000)):
            sender = self.bind(namespace, address)
            for port in range(first, first + 2000, 67):
                sender.sendto(struct.pack("!BBHII", 0x80, 0, 1, 160, 1) + bytes(160), (box, port))
        time.sleep(0.3)
        packets = [packet for each in watched for packet in each.stop()]
        self.assertGreater(sum(packet.protocol == "udp" for packet in packets), 50)
        # Neighbour discovery is no answer: ICMPv6 errors are the types below 128 (RFC 4443 §2.1).
        self.assertEqual([packet for packet in packets if packet.protocol == "icmp"
                          or packet.protocol == "icmp6" and packet.payload[0] < 128], [])


def sip(packets):
    return [packet for packet in packets if packet.protocol in ("udp", "tcp") and packet.payload
            and 5060 in (packet.source_port, packet.destination_port)]


class Hiding(LabTest):
    configuration = TRUNK_ALONE

    def test_topology(self):
        """no address, Call-ID, tag, branch or user agent of one side is seen on the other; tshark finds nothing malformed"""
        called = Called(ring=(183, 180), extra=["Server: carrier-secret-box"])
        endpoint = self.lab.carrier(called, digest=False)
        self.addCleanup(endpoint.kill)
        watched = self.lab.watch("not arp")
        self.assert_good(self.lab.from_station(self.lab.caller(hold=300),
                                               calls=2, rate=5, timeout=15))
        self.assert_good(self.lab.from_station(self.lab.caller(called="95551236", hold=100), calls=2, rate=5, timeout=15,
                                               transport="t1"))
        phones, carrier = (sip(each.stop()) for each in watched)
        self.assertGreater(len(phones), 10)
        self.assertGreater(len(carrier), 10)
        names = {}
        for side, packets in (("phone", phones), ("trunk", carrier)):
            text = b"\n".join(packet.payload for packet in packets)
            names[side] = {
                "Call-ID": set(re.findall(rb"^(?:Call-ID|i)\s*:\s*(\S+)", text, re.M | re.I)),
                "tag": set(re.findall(rb";\s*tag=([^;>\s,]+)", text)),
                "branch": set(re.findall(rb"branch=(z9hG4bK[^;\s,]+)", text)),
            }
        for kind in ("Call-ID", "tag", "branch"):
            self.assertTrue(names["phone"][kind] and names["trunk"][kind])
        for side, other, packets, addresses in (
                ("phone", "trunk", carrier, [b"192.168.50.", b"2001:db8:50:"]),
                ("trunk", "phone", phones, [b"203.0.113.", b"carrier-secret"])):
            secrets = [*addresses, *(value for values in names[side].values() for value in values)]
            for packet in packets:
                for secret in secrets:
                    self.assertNotIn(secret, packet.payload,
                                     f"the {other} side sees {secret!r} of the {side} side in:\n"
                                     f"{packet.payload.decode(errors='replace')}")
        for each in watched:
            bad = run("tshark", "-r", each.path, "-Y", "_ws.malformed", "-T", "fields", "-e", "frame.number",
                      "-e", "_ws.col.Info")
            self.assertEqual(bad.strip(), "", "malformed frames, says tshark")
            requests = run("tshark", "-r", each.path, "-Y", "sip.Method == \"INVITE\"", "-T", "fields", "-e", "sip.Call-ID")
            self.assertTrue(requests.strip(), "tshark sees the calls")


if __name__ == "__main__":
    unittest.main(verbosity=2)
