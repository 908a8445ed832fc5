"""What the box says of speech: packets lost, repeated and reordered on purpose, and tshark as the judge."""

import os
import time
import unittest

import capture
import scenario
from labtest import LabTest
from namespaces import CARRIERS, LAN_BOX, PHONES, WAN_BOX
from rtp import EVENT, Talker, block, jitter_of, tshark_streams
from scenario import Called

PHONE_PORT, CARRIER_PORT = 40000, 41000
PHONE_SSRC, CARRIER_SSRC = 0x0A0A0A0A, 0x0B0B0B0B
NTP = 0x1122_3344_5566_7788
COUNT = 100


class Quality:
    """One call whose speech we send ourselves."""
    path = "kernel"
    clock = 0.5  # milliseconds our arrival times may differ from the capture's: a tick of 8 kHz and the way to the program

    def call(self, hold=6000):
        endpoint = self.lab.carrier(Called(answer=scenario.sdp(port=CARRIER_PORT)), digest=False)
        self.addCleanup(endpoint.kill)
        phone = Talker(self.lab.network.phones, PHONES[0], PHONE_PORT, PHONE_SSRC)
        carrier = Talker(self.lab.network.carrier, CARRIERS[0], CARRIER_PORT, CARRIER_SSRC)
        self.addCleanup(phone.close)
        self.addCleanup(carrier.close)
        caller = self.lab.from_station(
            self.lab.caller(offer=scenario.sdp(port=PHONE_PORT), hold=hold), calls=1, timeout=20)
        self.lab.wait_for(lambda: self.lab.daemon.calls()["calls"][0]["state"] == "answered", "the call is answered")
        call = self.lab.daemon.calls()["calls"][0]
        for talker, flow in zip((phone, carrier), call["flows"]):
            address, port = flow["local"].rsplit(":", 1)
            talker.target = (address, int(port))
        return call["id"], caller, phone, carrier

    def watch_box(self):
        watched = []
        for name in ("lan0", "wan0"):
            running = capture.Capture(self.lab.network.box, name,
                                      os.path.join(self.lab.directory, self.lab._unique(name) + ".pcap"), "udp")
            self.lab.captures.append(running)
            watched.append(running)
        return watched

    def test_numbers(self):
        """`cresset calls ID` says what was lost, repeated, reordered and pressed, and how long the way back is"""
        watched = self.watch_box()
        identifier, caller, phone, carrier = self.call()
        # From the phone: 10, 11 and 50 never sent, 21 before 20, 30 and 40 twice, one key in five packets at 60.
        numbers = [number for number in range(COUNT) if number not in (10, 11, 50)]
        place = numbers.index(20)
        numbers[place:place + 2] = [21, 20]
        sequence = [[number, number] if number in (30, 40) else number for number in numbers]
        # 50 fell silent for one packet more.
        sequence.insert(sequence.index(51), [])
        phone.report(ntp=NTP)
        phone.speak(sequence, first=65500, payload_types=dict.fromkeys(range(60, 65), EVENT))
        carrier.speak(range(COUNT))

        # What the carrier reports: 50 ms after it heard the phone's report, 5 packets lost.
        came = carrier.wait_heard("rtcp")
        delay = 0.05
        while time.monotonic() < came + delay:
            pass
        asked = time.monotonic()
        carrier.report(block=block(PHONE_SSRC, fraction=13, lost=5, highest=1 << 16, last=NTP >> 16 & 0xFFFFFFFF,
                                   delay=asked - came))
        phone.wait_heard("rtcp")

        call, = self.lab.daemon.ask("calls", identifier)["calls"]
        there, back = call["flows"]
        self.assertEqual((there["path"], back["path"]), (self.path, self.path))
        self.assertEqual((there["codec"], back["codec"]), ("pcmu", "pcmu"))
        said = there["quality"]
        self.assertEqual(
            {name: said[name] for name in ("received", "expected", "lost", "reordered", "duplicates", "events",
                                           "source-changes", "restarts", "far-end-lost")},
            {"received": phone.sent, "expected": COUNT, "lost": 3, "reordered": 1, "duplicates": 2, "events": 1,
             "source-changes": 0, "restarts": 0, "far-end-lost": 5})
        self.assertEqual(said["loss-percent"], 3.0)
        self.assertEqual(said["far-end-loss-percent"], round(13 * 100 / 256, 3))
        # The carrier heard the report through the box and answered at once: what is left are two wires of nothing.
        self.assertGreaterEqual(said["round-trip-milliseconds"], 0)
        self.assertLess(said["round-trip-milliseconds"], 20)
        self.assertTrue(1 < said["mos"] < 4.2, said)
        said = back["quality"]
        self.assertEqual((said["received"], said["lost"], said["duplicates"], said["reordered"], said["events"]),
                         (COUNT, 0, 0, 0, 0))
        self.assertIsNone(said["far-end-lost"])
        self.assertGreater(said["mos"], 4.3)
        self.assertEqual(there["wrong-source"], 0)

        text = self.lab.daemon.text("calls", identifier)
        for line in (r"lost +3 \(3\.0 %\) +0 \(0\.0 %\)", r"duplicates +2 +0", r"DTMF events +1 +0", r"far end lost \(% lately\) +5 \(5\.1 %\)"):
            self.assertRegex(text, line)
        self.assert_good(caller)
        self.lab.wait_for(lambda: any("3 of 100 lost, 1 reordered, 2 twice" in line for line in self.lab.daemon.log),
                          "the call record says so, too", 5)

        # The judges: tshark, and the formula of RFC 3550 §6.4.1 in floating point, over the packets as they arrived.
        for running, talker, said, lost in ((watched[0], phone, there["quality"], 3 - 2),
                                            (watched[1], carrier, back["quality"], 0)):
            packets = [(packet.time, packet.payload) for packet in running.stop()
                       if packet.destination_port == talker.target[1]]
            judged = tshark_streams(running.path, talker.target[1])[talker.ssrc]
            self.assertEqual((judged["packets"], judged["lost"]), (said["received"], lost), judged)
            least, _, most = judged["jitters"]
            jitter = said["jitter-milliseconds"]
            self.assertTrue(least - self.clock <= jitter <= most + self.clock, (jitter, judged))
            self.assertAlmostEqual(jitter, jitter_of(packets, EVENT), delta=self.clock)
            gap = max(later[0] - earlier[0] for earlier, later in zip(packets, packets[1:])) / 1e6
            self.assertAlmostEqual(said["longest-gap-milliseconds"], gap, delta=self.clock)


class TC(Quality, LabTest):
    configuration = dict(datapath="tc", health_interval=None, registration=False, trunk_b=False)


class Sockets(Quality, LabTest):
    configuration = dict(datapath="off", health_interval=None, registration=False, trunk_b=False)
    path = "socket"
    clock = 20  # a busy machine may keep the daemon waiting


if __name__ == "__main__":
    unittest.main(verbosity=2)
