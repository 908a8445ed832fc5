"""Help calls back, 911 finds room, and test mode, with real phones and carriers."""

import json
import os
import unittest

from counters import active_calls
from emergency import trunks
from labtest import LabTest
from scenario import Called, Caller, linger, ok, receive

ELINS = ("+13135550190", "+13135550191")
SITES = f"""
[sites.plant]
networks = ["192.168.50.0/24"]
address = {{ house-number = "400", street = "Elm", street-type = "St", city = "Detroit", state = "MI", postal-code = "48201" }}
elins = ["{ELINS[0]}", "{ELINS[1]}"]
contacts = ["2002"]
"""


class Office(LabTest):
    more_trunk = ""
    extra = {}

    @classmethod
    def setUpClass(cls):
        first, second = trunks().split("[trunks.carrier-b]")
        cls.configuration = dict(
            health_interval=None, registration=False,
            extra={"trunks.toml": first + cls.more_trunk + "[trunks.carrier-b]" + second, "sites.toml": SITES,
                   "emergency.toml": '[emergency]\ntrunks = ["carrier-a"]\n', **cls.extra})
        super().setUpClass()

    def leases(self):
        return self.lab.daemon.ask("emergency", "elins")["leases"]

    def kept(self):
        """What a restart would find."""
        path = os.path.join(self.lab.daemon.state, "callback-leases.json")
        if not os.path.exists(path):
            return []
        with open(path) as file:
            return json.load(file)["leases"]

    def help_call(self, user, **options):
        self.assert_good(self.lab.from_station(Caller(user, "911", hold=200), user=user, calls=1, timeout=20, **options))

    def call_back(self, number, **options):
        return self.lab.from_carrier(Caller("+13135550911", number, hold=300), calls=1, timeout=60, **options)


class Callback(Office):
    def test_after_a_crash(self):
        """SIGKILL during a 911 call: after the restart its lease still routes the callback to the station"""
        carrier = self.lab.carrier(Called())
        self.lab.register("2001")
        self.lab.from_station(Caller("2001", "911", hold=120_000), calls=1, timeout=150)
        self.lab.wait_for(lambda: active_calls(self.lab.daemon) == 1, "the call for help stands", 10)
        self.lab.wait_for(lambda: [lease["end"] for lease in self.kept()] == [None], "the lease is written down", 5)
        self.lab.wait_for(lambda: os.path.exists(os.path.join(self.lab.daemon.state, "bindings.json")),
                          "the registration is written down", 5)
        self.lab.daemon.kill()
        self.lab.daemon.start()
        [lease] = self.leases()
        self.assertEqual((lease["elin"], lease["station"], lease["active-calls"]), (ELINS[0], "2001", 0))
        self.assertGreater(lease["remaining-seconds"], 29 * 60, "the end of the call is not known: the full window")
        carrier.kill()
        station = self.lab.station("2001", Called())
        self.assert_good(self.call_back(ELINS[0]))
        self.assert_served(station)
        self.assertIn("2001", self.lab.daemon.text("emergency", "elins"))

    def test_stranger_and_contacts(self):
        """a phone that never registered is called back where it is; when it is gone, the contact rings"""
        self.lab.carrier(Called())
        self.lab.register("2002", port=6002)
        contact = self.lab.station("2002", Called(), port=6002)
        self.assert_good(
            self.lab.from_station(Caller("8888", "911", hold=200), user="2003", port=6008, calls=1, timeout=20))
        [lease] = [lease for lease in self.leases() if lease["station"].startswith("at ")]
        phone = self.lab.station("2003", Called(), port=6008)
        self.assert_good(self.call_back(lease["elin"]))
        self.assert_served(phone)
        phone.kill()
        self.assert_good(self.call_back(lease["elin"]))
        self.assert_served(contact)


class Room(Office):
    more_trunk = "calls-max = 1\n"

    def test_preemption(self):
        """a trunk with one channel: the ordinary call on it ends with Reason: preemption, 911 is answered there"""
        carrier = self.lab.carrier(Called(ring=(), ring_time=0))
        self.lab.register("2001", port=6001)
        caller = Caller("2001", "95551234", hold=0)
        reason = '<ereg regexp="preemption;cause=5" search_in="hdr" header="Reason:" check_it="true" assign_to="why"/>' \
                 '<log message="[$why]"/>'
        ordinary = self.lab.from_station(
            [caller.start(), caller.answered(), receive("BYE", actions=reason), ok(), linger(500)], port=6001, calls=1,
            timeout=30)
        self.lab.wait_for(lambda: active_calls(self.lab.daemon) == 1, "an ordinary call has the channel", 10)
        self.assert_good(self.lab.from_station(Caller("2002", "911", hold=300), user="2002", calls=1, timeout=20))
        self.assertEqual(ordinary.wait(), 0, ordinary.errors())
        self.assert_served(carrier)
        self.assertTrue(any("ended to make room" in line for line in self.lab.daemon.log[self.log_mark:]), self.box_log())


class TestMode(Office):
    def test_armed(self):
        """armed by hand: 911 gets a clear 503 and no carrier an INVITE, every answer says so; disarmed, 911 is placed"""
        carrier = self.lab.carrier(Called())
        self.lab.daemon.ask("emergency", "test-mode", "arm", "5")
        blocked = self.lab.from_station(Caller("2001", "911").rejected(503), calls=1, timeout=20)
        self.assert_good(blocked)
        self.assertEqual(carrier.count("TotalCallCreated"), 0)
        self.assertIn("TEST MODE: every 911 is blocked (armed by root", self.lab.daemon.text("status"))
        self.assertEqual(self.lab.daemon.status()["emergency"]["test-mode"], "armed by root")
        self.lab.daemon.ask("emergency", "test-mode", "disarm")
        self.help_call("2001")
        self.assert_served(carrier)

    def test_environment(self):
        """TEST_MODE=1 in the environment blocks 911; a box marked production does not start with it, and says why"""
        box = self.lab.daemon
        box.stop()
        box.before = ["env", "TEST_MODE=1"]
        try:
            box.start()
            self.assert_good(self.lab.from_station(Caller("2001", "911").rejected(503), calls=1, timeout=20))
            box.stop()
            files = dict(self.lab.files)
            files["system.toml"] = files["system.toml"].replace("[system]", "[system]\nproduction = true")
            box.write(files)
            with self.assertRaisesRegex(RuntimeError, "ended at once with 78[^$]*production[^$]*variable TEST_MODE"):
                box.start()
        finally:
            box.before = []
            box.write(self.lab.files)
            box.start()


if __name__ == "__main__":
    unittest.main(verbosity=2)
