"""SIP over UDP read from a packet ring: every message has one reader, whatever its length and its way."""

import re
import socket
import struct
import unittest

from daemon import configuration
from labtest import LabTest
from namespaces import LAN_BOX, PHONES, WAN_BOX
from scenario import Called

SPEECH = 600  # milliseconds
RING = {"signalling.toml": '[signalling]\nreceive = "ring"\n'}


def options(branch, host, padding=0):
    """An OPTIONS from nobody in particular; any answer to it will do."""
    return (f"OPTIONS sip:{LAN_BOX} SIP/2.0\r\nVia: SIP/2.0/UDP {host}:5098;branch=z9hG4bK{branch}\r\nMax-Forwards: 70\r\n"
            f"From: <sip:2001@{host}>;tag=1\r\nTo: <sip:{LAN_BOX}>\r\nCall-ID: {branch}@{host}\r\nCSeq: 1 OPTIONS\r\n"
            f"X-Padding: {'x' * padding}\r\nContent-Length: 0\r\n\r\n").encode()


def fragments(payload, source, destination, port, size, identification):
    """IPv4 packets of one datagram in pieces of `size` bytes; the kernel fills in the header's checksum."""
    datagram = struct.pack("!HHHH", port, 5060, 8 + len(payload), 0) + payload
    for offset in range(0, len(datagram), size):
        part = datagram[offset:offset + size]
        more = 0x2000 if offset + size < len(datagram) else 0
        yield struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(part), identification, more | offset // 8, 64, 17, 0,
                          socket.inet_aton(source), socket.inet_aton(destination)) + part


class SignallingRing(LabTest):
    configuration = dict(health_interval=None, registration=False, trunk_b=False, extra=RING)

    def setUp(self):
        super().setUp()
        if "ring" not in self.readers():  # a test before this one made the box give it up
            self.reload("socket")
            self.reload("ring")
        self.before = self.counted()

    def counted(self):
        counters = self.lab.daemon.status()["counters"]
        faults = self.lab.network.box.run("cat", "/proc/net/snmp")
        rows = [line.split() for line in faults.splitlines()]
        faults = {f"{name[0]}{key}": int(value) for name, values in zip(rows[::2], rows[1::2])
                  for key, value in zip(name[1:], values[1:])}
        return {"ring": counters.get("sip-ring-datagrams", 0), "all": counters["sip-messages-received"],
                "damaged": counters.get("sip-ring-damaged", 0), "lost": counters.get("sip-ring-lost", 0),
                "unreachable": faults["Icmp:OutDestUnreachs"]}

    def since(self):
        after = self.counted()
        return {name: after[name] - self.before[name] for name in after}

    def readers(self):
        """Who reads the LAN's SIP, in the box's own words, the last one last."""
        return re.findall(r"SIP of realm lan is read from (?:a |its )(ring|socket)", "\n".join(self.lab.daemon.log))[-1:]

    def reload(self, receive):
        mark = len(self.lab.daemon.log)
        self.lab.daemon.write(configuration(**{**self.configuration, "extra": {
            "signalling.toml": f'[signalling]\nreceive = "{receive}"\n'}}))
        self.lab.daemon.reload()
        self.lab.wait_for(lambda: any("configuration applied" in line for line in self.lab.daemon.log[mark:]), "reload", 5)

    def carrier(self, called):
        endpoint = self.lab.carrier(called, digest=False, name=self._testMethodName)
        self.addCleanup(endpoint.kill)
        return endpoint

    def phone_socket(self, kind, protocol=0):
        with self.lab.network.phones.entered():
            opened = socket.socket(socket.AF_INET, kind, protocol)
        self.addCleanup(opened.close)
        return opened

    def test_calls(self):
        """calls with speech: all of their messages come by the ring, none twice, and nothing is answered with ICMP"""
        self.carrier(Called(audio=self.lab.noise(SPEECH)))
        self.assert_calls_with_speech(self.lab.caller(audio=self.lab.noise(SPEECH), hold=SPEECH + 500))
        since = self.since()
        self.assertGreaterEqual(since["ring"], 2 * 7, since)  # INVITE twice, ACK twice, BYE; 180 and 200s of the trunk
        self.assertEqual(since, {"ring": since["ring"], "all": since["ring"], "damaged": 0, "lost": 0, "unreachable": 0})

    def test_ipv6_phone(self):
        """a phone on IPv6, whose realm shares the interface"""
        self.carrier(Called())
        self.assert_good(self.lab.from_station(self.lab.caller("2006", hold=200), user="2006", calls=2, rate=5, timeout=15))
        since = self.since()
        self.assertEqual(since["ring"], since["all"], since)

    def test_large_invite(self):
        """a 6 kB INVITE over UDP: its fragments are the kernel's, the call's other messages the ring's"""
        self.carrier(Called())
        extra = [f"X-Lab-{index}: {'x' * 80}" for index in range(62)]
        self.assert_good(self.lab.from_station(self.lab.caller(hold=200, extra=extra), calls=2, rate=5, timeout=15))
        since = self.since()
        self.assertEqual(since["all"] - since["ring"], 4, since)  # each call's INVITE, with and without credentials
        self.assertEqual(self.readers(), ["ring"])

    def test_small_fragments(self):
        """a message that would fit one packet but comes in two: the box gives the ring up, and answers the repetition"""
        listener = self.phone_socket(socket.SOCK_DGRAM)
        listener.bind((PHONES[5], 5098))
        listener.settimeout(2)
        sender = self.phone_socket(socket.SOCK_RAW, socket.IPPROTO_RAW)
        payload = options("small", PHONES[5], padding=300)

        def send(identification):
            for packet in fragments(payload, PHONES[5], LAN_BOX, 5098, 256, identification):
                sender.sendto(packet, (LAN_BOX, 0))

        send(7001)
        self.lab.wait_for(lambda: self.readers() == ["socket"], "the ring is given up", 5)
        send(7002)
        self.assertTrue(listener.recv(65536).startswith(b"SIP/2.0 "))
        self.carrier(Called())
        self.assert_good(self.lab.from_station(self.lab.caller(hold=200), calls=1, timeout=15))

    def test_damaged(self):
        """a wrong checksum reaches nobody, and the right one is answered"""
        listener = self.phone_socket(socket.SOCK_DGRAM)
        listener.bind((PHONES[5], 5098))
        sender = self.phone_socket(socket.SOCK_RAW, socket.IPPROTO_RAW)
        packet = bytearray(next(fragments(options("damaged", PHONES[5]), PHONES[5], LAN_BOX, 5098, 1400, 7003)))
        packet[26:28] = b"\x12\x34"
        sender.sendto(bytes(packet), (LAN_BOX, 0))
        self.lab.wait_for(lambda: self.since()["damaged"] == 1, "the damage is counted", 5)
        self.assertEqual(self.since()["all"], 0)
        packet[26:28] = b"\0\0"
        sender.sendto(bytes(packet), (LAN_BOX, 0))
        listener.settimeout(2)
        self.assertTrue(listener.recv(65536).startswith(b"SIP/2.0 "))

    def test_other_interface(self):
        """a datagram to the LAN's address that comes in by the WAN is the socket's"""
        self.lab.network.carrier.ip("route", "replace", f"{LAN_BOX}/32", "via", WAN_BOX)
        self.addCleanup(self.lab.network.carrier.ip, "route", "del", f"{LAN_BOX}/32", check=False)
        with self.lab.network.carrier.entered():
            sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(sender.close)
        sender.sendto(options("wan", "203.0.113.10"), (LAN_BOX, 5060))
        self.lab.wait_for(lambda: self.since()["all"] == 1, "the message is read", 5)
        self.assertEqual(self.since()["ring"], 0)

    def test_switching_under_a_call(self):
        """from ring to socket and back while a call is up: it ends as it should"""
        self.carrier(Called(audio=self.lab.noise(1500)))
        caller = self.lab.from_station(self.lab.caller(audio=self.lab.noise(1500), hold=2500), calls=1, timeout=20)
        self.lab.wait_for(lambda: self.lab.daemon.status()["calls"]["active"] == 1, "the call is up", 10)
        self.reload("socket")
        self.assertEqual(self.readers(), ["socket"])
        phone = self.phone_socket(socket.SOCK_DGRAM)
        phone.bind((PHONES[5], 5098))
        phone.settimeout(2)
        phone.sendto(options("between", PHONES[5]), (LAN_BOX, 5060))
        self.assertTrue(phone.recv(65536).startswith(b"SIP/2.0 "))
        self.reload("ring")
        self.assertEqual(self.readers(), ["ring"])
        self.assert_good(caller)


if __name__ == "__main__":
    unittest.main(verbosity=2)
