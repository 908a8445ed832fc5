"""What the lab's test cases share."""

import unittest

import capture
import namespaces
from counters import active_calls
from lab import Lab
from namespaces import CARRIERS, PHONES, PHONES6


class LabTest(unittest.TestCase):
    """One lab per class; the box must be alive and without calls after each test."""
    configuration = {}
    offload = True
    mtu = 1500

    @classmethod
    def setUpClass(cls):
        reason = namespaces.missing_requirements()
        if reason:
            raise unittest.SkipTest(reason)
        cls.lab = Lab(offload=cls.offload, mtu=cls.mtu, **cls.configuration).__enter__()
        cls.addClassCleanup(cls._down)

    @classmethod
    def _down(cls):
        cls.lab.__exit__(None, None, None)

    def setUp(self):
        self.log_mark = len(self.lab.daemon.log)

    def tearDown(self):
        if not self.lab.daemon.alive:
            last = "\n".join(self.lab.daemon.log[-30:])
            self.lab.daemon.start()  # the next test gets a living box; this one fails
            self.fail(f"cressetd died:\n{last}")
        self.assert_idle()

    def box_log(self):
        """What the box logged during this test, for the reader of a failure."""
        return "\n".join(self.lab.daemon.log[self.log_mark:][-40:])

    def assert_idle(self, timeout=8):
        try:
            self.lab.wait_for(lambda: active_calls(self.lab.daemon) == 0, "no call is left in the box", timeout)
        except AssertionError as error:
            self.fail(f"{error}: {self.lab.daemon.calls()}\n{self.box_log()}")

    def assert_good(self, endpoint):
        status = endpoint.wait()
        if status != 0 or endpoint.failed:
            self.fail(f"SIPp {endpoint.name} ended with {status}; {endpoint.successful} good, {endpoint.failed} failed:\n"
                      f"{endpoint.errors()}\n--- the box:\n{self.box_log()}")

    def assert_served(self, endpoint):
        """The endpoint took part in calls and none of them failed there."""
        self.lab.wait_for(lambda: endpoint.count("TotalCallCreated") > 0, f"{endpoint.name} got a call", 5)
        self.assertEqual(endpoint.failed, 0, endpoint.errors())

    def assert_calls_with_speech(self, caller, steps=None, calls=2, user="2001"):
        """Calls from a station to the trunk; every packet of both directions arrives, once."""
        watched = self.lab.watch("udp")
        self.assert_good(self.lab.from_station(steps or caller, user=user, calls=calls, rate=5, timeout=20))
        phones, carrier = (each.stop() for each in watched)
        there = capture.Direction("to the trunk").add(
            capture.rtp_from(phones, [self.lab.phone(user)]), capture.rtp_to(carrier, CARRIERS))
        back = capture.Direction("to the phone").add(
            capture.rtp_from(carrier, CARRIERS), capture.rtp_to(phones, [self.lab.phone(user)]))
        self.assert_complete(there, back)
        return there, back

    def assert_hairpin(self, packets, callers, called):
        there = capture.Direction("to the called").add(capture.rtp_from(packets, callers), capture.rtp_to(packets, called))
        back = capture.Direction("to the caller").add(capture.rtp_from(packets, called), capture.rtp_to(packets, callers))
        self.assert_complete(there, back)

    def assert_complete(self, *directions):
        for way in directions:
            self.assertGreater(way.sent, 0, f"{way.name}: no speech was sent")
            self.assertEqual((way.lost, way.duplicated), (0, 0),
                             f"{way.name}: {way.sent} sent, {way.lost} lost, {way.duplicated} doubled\n{self.box_log()}")
