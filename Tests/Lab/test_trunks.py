"""The trunk towards the carrier: registration with digest, health by OPTIONS, and what a dead carrier means."""

import unittest

from counters import trunk
from labtest import LabTest
from scenario import Called


class Trunks(LabTest):
    configuration = dict(health_interval="1s")

    def test_registration_and_health(self):
        """the trunk registers with digest, goes down when its carrier falls silent, and comes back"""
        first = self.lab.carrier(Called())
        second = self.lab.carrier(Called(), which=1)
        self.lab.wait_for(lambda: trunk(self.lab.daemon, "carrier-a").registered, "carrier-a is registered", 15)
        self.lab.wait_for(lambda: trunk(self.lab.daemon, "carrier-a").up, "carrier-a is up", 10)
        self.assert_good(self.lab.from_station(self.lab.caller(hold=200), calls=2, rate=5, timeout=15))
        self.assert_served(first)

        first.kill()
        self.lab.wait_for(lambda: not trunk(self.lab.daemon, "carrier-a").up, "carrier-a is down", 15)
        self.assertTrue(trunk(self.lab.daemon, "carrier-b").up)
        self.assert_good(self.lab.from_station(self.lab.caller(hold=200), calls=2, rate=5, timeout=15))
        self.assert_served(second)

        self.lab.carrier(Called())
        self.lab.wait_for(lambda: trunk(self.lab.daemon, "carrier-a").up, "carrier-a is up again", 15)


if __name__ == "__main__":
    unittest.main(verbosity=2)
