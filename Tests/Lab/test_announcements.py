"""What the box says itself: calls it places, with a key that acknowledges them, and pages to multicast groups."""

import math
import os
import re
import socket
import struct
import unittest

from daemon import REPOSITORY
from labtest import LabTest
from namespaces import LAN_BOX, PHONES
from rtp import EVENT, Talker
from scenario import Called, sdp

PHRASES = os.path.join(REPOSITORY, "share", "phrases")
TONE, REST = 4000, 2400  # samples of the attention tone and of the silence behind it
IP_RECVTTL = 12  # linux/in.h; Python has no name for it
GROUP = ("224.0.1.75", 5004)


def recording(name):
    with open(os.path.join(PHRASES, name + ".ulaw"), "rb") as file:
        return file.read()


def said():
    """What the recordings make of "floor 2"."""
    return recording("floor") + b"\xff" * 1200 + recording("2")


def linear(byte):
    """ITU-T G.711, mu-law."""
    byte = ~byte & 0xFF
    magnitude = (((byte & 15) << 3) + 0x84 << (byte >> 4 & 7)) - 0x84
    return -magnitude if byte & 0x80 else magnitude


def share_of(frequency, audio):
    """How much of the power is in a frequency (Goertzel)."""
    step = 2 * math.cos(2 * math.pi * frequency / 8000)
    before = last = power = 0
    for sample in map(linear, audio):
        before, last = last, sample + step * last - before
        power += sample * sample
    return (last * last + before * before - step * last * before) * 2 / len(audio) / max(1, power)


class Heard:
    """RTP in the order of its numbers, none missing, each 160 ticks after the one before."""

    def __init__(self, test, datagrams):
        packets = sorted(((struct.unpack("!BBHII", each[:12]), each[12:]) for each in datagrams),
                         key=lambda packet: packet[0][2])
        numbers = [header[2] for header, _ in packets]
        if numbers[-1] - numbers[0] > 0x8000:  # they began again at 0
            packets.sort(key=lambda packet: packet[0][2] + 0x8000 & 0xFFFF)
            numbers = [header[2] for header, _ in packets]
        test.assertEqual([(number - numbers[0]) & 0xFFFF for number in numbers], list(range(len(numbers))))
        stamps = [header[3] for header, _ in packets]
        test.assertEqual({(there - here) & 0xFFFFFFFF for here, there in zip(stamps, stamps[1:])}, {160})
        test.assertEqual({(header[0], header[1] & 0x7F) for header, _ in packets}, {(0x80, 0)})
        test.assertEqual([header[1] >> 7 for header, _ in packets], [1] + [0] * (len(packets) - 1))
        self.audio = b"".join(payload for _, payload in packets)


class Announcements:
    """The same over each way out."""
    way = None

    def setUp(self):
        super().setUp()
        self.talker = None

    def listener(self, port):
        self.talker = Talker(self.lab.network.phones, PHONES[0], port, ssrc=0x1234)
        self.addCleanup(self.talker.close)
        return sdp(port=str(port))

    def logged(self, pattern):
        return [line for line in self.lab.daemon.log[self.log_mark:] if re.search(pattern, line)]

    def wait_logged(self, pattern, timeout=15):
        self.lab.wait_for(lambda: self.logged(pattern), f"“{pattern}” in the log:\n{self.box_log()}", timeout)

    def heard(self):
        return Heard(self, [datagram for _, datagram in list(self.talker.heard["rtp"])]).audio

    def assert_said(self, audio, times):
        for number in range(times):
            begin = number * (TONE + REST + len(said()) + 8000)
            self.assertGreater(share_of(1000, audio[begin:begin + TONE]), 0.95, "the attention tone")
            self.assertEqual(audio[begin + TONE:begin + TONE + REST], b"\xff" * REST)
            self.assertEqual(audio[begin + TONE + REST:][:len(said())], said(), f"repetition {number + 1}")

    def test_acknowledged(self):
        """a station rings, hears exactly the recordings, presses 1, hears that it was understood, and is hung up on"""
        self.lab.register("2001", port=6010)
        station = self.lab.station("2001", Called(answer=self.listener(18000)), port=6010, calls=1)
        self.lab.daemon.text("announce", "floor 2", "--station", "2001", "--key", "1", "--repetitions", "2")
        self.wait_logged("rings")
        self.wait_logged("played 2 times")
        call, = self.lab.daemon.calls()["calls"]
        there, back = call["flows"]
        self.assertEqual((there["direction"], there["path"], back["path"]), ("box-to-callee", self.way, "socket"))
        self.assertIn(f"box-to-callee  {self.way}", self.lab.daemon.text("calls", call["id"]))
        self.talker.target = (LAN_BOX, int(there["local"].rsplit(":", 1)[1]))
        self.talker.speak(range(6), payload_types={number: EVENT for number in range(6)})
        self.wait_logged("acknowledged with 1")
        self.wait_logged("ended, acknowledged")
        self.assertEqual(station.wait(), 0, station.errors())
        audio = self.heard()
        self.assert_said(audio, 2)
        confirmation = audio[-8000:]
        self.assertGreater(max(abs(linear(byte)) for byte in confirmation), 1000, "the sign that the key was understood")
        steps = [line.split(": ", 1)[1] for line in self.logged("announcement-[0-9]+: ")]
        self.assertEqual([step for step in steps if "is rung" not in step],
                         ["rings", "answered", "played 1 time", "played 2 times", "acknowledged with 1",
                          "ended, acknowledged"])

    def test_paging_adapter(self):
        """a paging adapter, which is registered nowhere, answers at once and hears it once"""
        answer = self.listener(18010)
        adapter = self.lab.endpoint(self.lab.network.phones, "adapter", Called(ring=(), answer=answer).call(), PHONES[0],
                                    6020, calls=1, timeout=20)
        self.assertTrue(adapter.wait_listening())
        self.lab.daemon.text("announce", "floor 2", "--uri", f"sip:zone1@{PHONES[0]}:6020", "--realm", "lan",
                             "--repetitions", "1")
        self.wait_logged("ended, played")
        self.assertEqual(adapter.wait(), 0, adapter.errors())
        self.assert_said(self.heard(), 1)

    def test_nobody(self):
        """a station without a phone, one that is busy: said at once, with the reason"""
        self.lab.daemon.text("announce", "floor 2", "--station", "2003")
        self.wait_logged("failed: 480 No phone of station 2003 is registered")
        self.lab.register("2002", port=6030)
        busy = self.lab.station("2002", Called().rejecting(486, "Busy Here"), port=6030, calls=1)
        self.lab.daemon.text("announce", "floor 2", "--station", "2002")
        self.wait_logged("failed: 486 Busy Here")
        self.assertEqual(busy.wait(), 0, busy.errors())

    def test_multicast(self):
        """a page to a multicast group arrives as it was said, with a time to live of one"""
        with self.lab.network.phones.entered():
            receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(receiver.close)
        receiver.bind(GROUP)
        receiver.setsockopt(socket.IPPROTO_IP, IP_RECVTTL, 1)
        receiver.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP,
                            socket.inet_aton(GROUP[0]) + socket.inet_aton(PHONES[0]))
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        receiver.settimeout(2)
        self.lab.daemon.text("page", f"{GROUP[0]}:{GROUP[1]}", "floor 2", "--realm", "lan")
        count = math.ceil((TONE + REST + len(said())) / 160)
        datagrams, lives = [], set()
        while len(datagrams) < count:
            datagram, control, _, source = receiver.recvmsg(2048, 64)
            datagrams.append(datagram)
            lives.update(struct.unpack("i", data)[0] for _, kind, data in control if kind == socket.IP_TTL)
            self.assertEqual(source[0], LAN_BOX)
        self.wait_logged(f"by {self.way}: sent, {count} packets")
        self.assertEqual(lives, {1})
        self.assert_said(Heard(self, datagrams).audio, 1)


RECORDINGS = ("--synthesizer", "/nonexistent", "--phrases", PHRASES)


class ByRing(Announcements, LabTest):
    way = "ring"
    configuration = dict(arguments=RECORDINGS, health_interval=None, registration=False)


class BySocket(Announcements, LabTest):
    way = "socket"
    configuration = dict(arguments=RECORDINGS, datapath="off", health_interval=None, registration=False)


class Synthesized(LabTest):
    configuration = dict(health_interval=None, registration=False)

    def test_voice(self):
        """espeak-ng speaks a sentence to a multicast group, and the box answers meanwhile"""
        if self.lab.daemon.status()["media"]["voice"] != "espeak-ng":
            self.skipTest("espeak-ng is not installed")
        with self.lab.network.phones.entered():
            receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(receiver.close)
        receiver.bind(GROUP)
        receiver.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP,
                            socket.inet_aton(GROUP[0]) + socket.inet_aton(PHONES[0]))
        receiver.settimeout(5)
        text = "emergency call from extension 2 0 0 1, callback number 3 1 3, 5 5 5, 0 1 0 1"
        self.lab.daemon.text("page", f"{GROUP[0]}:{GROUP[1]}", text, "--realm", "lan")
        self.assertEqual(self.lab.daemon.status()["calls"]["active"], 0)
        audio = b"".join(receiver.recv(2048)[12:] for _ in range(300))[TONE + REST:]
        power = sum(linear(byte) ** 2 for byte in audio) / len(audio)
        self.assertGreater(math.sqrt(power), 500, "this is no speech")


if __name__ == "__main__":
    unittest.main(verbosity=2)
