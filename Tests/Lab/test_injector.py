"""Acceptance: an injector in a namespace of its own sprays RTP and RTCP at every open media port, of both realms, while
calls run. Nothing of it reaches a receiver, and the injector hears nothing."""

import os
import re
import socket
import struct
import time
import unittest
from collections import Counter

import capture
from labtest import LabTest
from namespaces import CARRIERS, LAN_BOX, PHONES, WAN_BOX
from scenario import Called

SPEECH = 5000
CALLS = 3
MARK = b"injected, injected, "
BOX = {"lan": (LAN_BOX, range(20000, 30000)), "wan": (WAN_BOX, range(30000, 40000))}


def media(packets, source=None, destination=None):
    """The datagrams on media ports from or to these addresses."""
    return [packet for packet in packets if packet.protocol == "udp" and 5060 not in (packet.source_port, packet.destination_port)
            and (source is None or packet.source in source) and (destination is None or packet.destination in destination)]


class Spray:
    """Everything the injector can guess or know, at a bounded rate."""

    def __init__(self, namespace, ways):
        self.sockets, self.sent = {}, 0
        with namespace.entered():
            for side, address, _ in ways:
                sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                sender.bind((address, 0))
                sender.setblocking(False)
                self.sockets[side] = sender

    def send(self, side, address, port, datagram):
        try:
            self.sockets[side].sendto(datagram, (address, port))
            self.sent += 1
        except BlockingIOError:
            pass

    def round(self, ports, streams, number):
        """One packet of each kind to each port, with the SSRC and the sequence numbers of the real streams."""
        for side, address, port in ports:
            if port % 2:
                sender_report = struct.pack("!BBHIIIIII", 0x80, 200, 6, 0x0BADCAFE, 1, 2, 3, 4, 5)
                goodbye = struct.pack("!BBHI", 0x81, 203, 1, streams[0][0] if streams else 1)
                self.send(side, address, port, sender_report + goodbye + MARK)
                continue
            ssrc, sequence = streams[number % len(streams)] if streams else (0x0BADCAFE, number)
            header = struct.pack("!BBHII", 0x80, 0, (sequence + number) & 0xFFFF, number * 160, ssrc)
            self.send(side, address, port, header + MARK * 8)

    def heard(self):
        """What came back, as data or as an ICMP error."""
        answers = []
        for sender in self.sockets.values():
            try:
                answers.append(sender.recv(2048))
            except BlockingIOError:
                pass
            except ConnectionRefusedError as error:
                answers.append(error)
        return answers

    def close(self):
        for sender in self.sockets.values():
            sender.close()


class Injector:
    """The same spray over each data path."""
    guarded = True  # closed ports are silent, too

    def open_ports(self):
        """Every bound media port of the box, as the kernel lists them."""
        text = self.lab.network.box.run("ss", "-Hlun4")
        found = {(address, int(port)) for address, port in re.findall(r"(\d+\.\d+\.\d+\.\d+):(\d+)\s", text)}
        return [(side, address, port) for side, (address, ports) in BOX.items() for port in ports if (address, port) in found]

    def streams(self, watched):
        """SSRC and next sequence number of what is being spoken."""
        seen = {}
        for each in watched:
            for packet in media(capture.read_pcap(each.path), source=[*PHONES, *CARRIERS]):
                if capture.rtp_key(packet):
                    seen[struct.unpack("!I", packet.payload[8:12])[0]] = struct.unpack("!H", packet.payload[2:4])[0] + 1
        return sorted(seen.items())

    def test_spray(self):
        """an injector inserts nothing, changes nothing and hears nothing"""
        endpoint = self.lab.carrier(Called(audio=self.lab.noise(SPEECH)), digest=False)
        self.addCleanup(endpoint.kill)
        injector, ways = self.lab.network.add_injector()
        ears = [capture.Capture(injector, link, os.path.join(self.lab.directory, f"injector-{link}.pcap"), "ip")
                for _, _, link in ways]
        self.lab.captures += ears
        spray = Spray(injector, ways)
        self.addCleanup(spray.close)
        watched = self.lab.watch("udp or icmp or icmp6")
        caller = self.lab.from_station(self.lab.caller(audio=self.lab.noise(SPEECH), hold=SPEECH + 600), calls=CALLS, rate=10,
                                       timeout=30)
        # From the first bound port on, hence also while sources may still be learned.
        self.lab.wait_for(self.open_ports, "a media port is open", 5, interval=0.01)
        attacked, streams = set(), []
        end = time.monotonic() + SPEECH / 1000 + 0.5
        number = 0
        while time.monotonic() < end:
            if number % 25 == 0:
                ports, streams = self.open_ports(), self.streams(watched)
                attacked.update(ports)
            spray.round(ports, streams, number)
            number += 1
            time.sleep(0.01)  # the pace of the spray, 100 packets a second and port
        if self.guarded:
            # Once also at every port there is, open or not.
            for side, (address, all_ports) in BOX.items():
                for start in range(0, len(all_ports), 50):
                    spray.round([(side, address, port) for port in all_ports[start:start + 50]], streams, number)
                    time.sleep(0.001)
        self.assert_good(caller)
        answers = spray.heard()
        heard = [packet for ear, (_, address, _) in zip(ears, ways) for packet in ear.stop()
                 if packet.source != address]
        phones, carrier = (each.stop() for each in watched)
        self.assertEqual(len(attacked), CALLS * 4, "RTP and RTCP ports of both legs of each call were sprayed at")
        arrived = [packet for packets in (phones, carrier) for packet in media(packets, destination=[LAN_BOX, WAN_BOX])
                   if MARK in packet.payload]
        self.assertGreater(len(arrived), spray.sent * 0.9, "the spray went out on the wires of the box")
        self.assertEqual(answers, [], "the injector got an answer")
        self.assertEqual(heard, [], "the injector heard something")
        for name, received, sent in (
                ("trunk", media(carrier, source=[WAN_BOX]), media(phones, source=PHONES)),
                ("phone", media(phones, source=[LAN_BOX]), media(carrier, source=CARRIERS))):
            expected = Counter(packet.payload for packet in sent if capture.rtp_key(packet))
            found = Counter(packet.payload for packet in received)
            self.assertGreater(sum(expected.values()), CALLS * SPEECH / 20 * 0.9)
            self.assertEqual(found - expected, Counter(), f"the {name} got what its peer did not say")
            self.assertEqual(expected - found, Counter(), f"the {name} missed something of what its peer said")


TRUNK_ALONE = dict(health_interval=None, registration=False, trunk_b=False)


class InjectorTC(Injector, LabTest):
    configuration = dict(datapath="tc", **TRUNK_ALONE)


class InjectorXDP(Injector, LabTest):
    offload = False
    configuration = dict(datapath="xdp", **TRUNK_ALONE)


class InjectorSockets(Injector, LabTest):
    guarded = False  # decision 14: without BPF closed ports answer
    configuration = dict(datapath="off", **TRUNK_ALONE)


if __name__ == "__main__":
    unittest.main(verbosity=2)
