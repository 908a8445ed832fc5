"""911: placed by any phone, by any number that means it, over whichever carrier answers."""

import unittest

from counters import active_calls
from labtest import LabTest
from scenario import Called, Caller


class Emergency(LabTest):
    # One call at a time and a dead first carrier: nothing of that concerns a call for help.
    configuration = dict(calls_max=1, attempt_timeout="1s", health_interval=None,
                         extra={"emergency.toml": '[emergency]\ntrunks = ["carrier-a"]\nattempt-timeout = "1s"\n'})

    def answered(self, caller, **options):
        return self.assert_good(self.lab.from_station(caller, calls=1, timeout=20, **options))

    def test_any_phone(self):
        """a phone that never registered reaches 911, although the first carrier is silent and the box is full"""
        carrier = self.lab.carrier(Called(), which=1)
        self.lab.register("2001", port=6001)
        ordinary = self.lab.from_station(Caller("2001", "95551234", hold=6000), port=6001, calls=1, timeout=30)
        self.lab.wait_for(lambda: active_calls(self.lab.daemon) == 1, "an ordinary call fills the box", 10)
        for number in ("911", "9911", "112", "*911"):
            self.answered(Caller("8888", number, hold=200), user="2003")
        self.assertEqual(ordinary.wait(), 0, ordinary.errors())
        self.assert_served(carrier)
        said = [line for line in self.lab.daemon.log[self.log_mark:] if "EMERGENCY CALL 911" in line]
        self.assertEqual(len(said), 4, self.box_log())
        for line in said:
            self.assertIn(self.lab.phone("2003"), line)


if __name__ == "__main__":
    unittest.main(verbosity=2)
