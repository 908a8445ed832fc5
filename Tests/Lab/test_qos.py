"""DSCP of what the box sends, by class and on both sides, as tshark reads it."""

import unittest
from collections import Counter

from labtest import LabTest
from namespaces import LAN_BOX, WAN_BOX, run
from scenario import Called

SPEECH = 600
TRUNK_ALONE = dict(health_interval=None, registration=False, trunk_b=False)


def classes(path, source):
    """DSCP values of signalling and of media from this address."""
    found = {"signalling": Counter(), "media": Counter()}
    text = run("tshark", "-r", path, "-Y", f"ip.src == {source} && (udp || tcp.len > 0)", "-T", "fields",
               "-e", "udp.srcport", "-e", "tcp.srcport", "-e", "tcp.dstport", "-e", "ip.dsfield.dscp")
    for line in text.splitlines():
        udp, *tcp, dscp = line.split("\t")
        found["signalling" if udp == "5060" or "5060" in tcp else "media"][int(dscp)] += 1
    return found


class Marking:
    """One call over UDP and one over TCP, and what it must be marked with."""
    signalling = 24
    media = 46

    def test_classes(self):
        """signalling and media leave with their class, on both sides"""
        endpoint = self.lab.carrier(Called(audio=self.lab.noise(SPEECH)), digest=False)
        self.addCleanup(endpoint.kill)
        watched = self.lab.watch("udp or tcp")
        for transport in ("u1", "t1"):
            self.assert_good(self.lab.from_station(self.lab.caller(audio=self.lab.noise(SPEECH), hold=SPEECH + 400),
                                                   calls=1, timeout=15, transport=transport))
        for each in watched:
            each.stop()
        for each, source in zip(watched, (LAN_BOX, WAN_BOX)):
            found = classes(each.path, source)
            self.assertEqual(set(found["signalling"]), {self.signalling})
            self.assert_media(found["media"])

    def assert_media(self, found):
        self.assertEqual(set(found), {self.media})


def qos(text):
    return {"qos.toml": f"[qos]\n{text}\n"}


class DefaultsInTC(Marking, LabTest):
    configuration = dict(datapath="tc", **TRUNK_ALONE)


class DefaultsInXDP(Marking, LabTest):
    offload = False
    configuration = dict(datapath="xdp", **TRUNK_ALONE)


class DefaultsInSockets(Marking, LabTest):
    configuration = dict(datapath="off", **TRUNK_ALONE)


class ByName(Marking, LabTest):
    signalling, media = 26, 34
    configuration = dict(datapath="tc", extra=qos('signalling = "AF31"\nmedia = "AF41"'), **TRUNK_ALONE)


class ByNumberInSockets(Marking, LabTest):
    signalling, media = 40, 12
    configuration = dict(datapath="off", extra=qos("signalling = 40\nmedia = 12"), **TRUNK_ALONE)


class Preserved(Marking, LabTest):
    media = 0  # SIPp marks nothing
    configuration = dict(datapath="tc", extra=qos('media = "preserve"'), **TRUNK_ALONE)

    def assert_media(self, found):
        # The first packets of a flow go through its socket, which does not know what they came with.
        self.assertLessEqual(set(found), {self.media, 46})
        self.assertGreater(found[self.media], sum(found.values()) * 0.9)


if __name__ == "__main__":
    unittest.main(verbosity=2)
