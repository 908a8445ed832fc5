"""A box under test never sends a 911 to anybody: each sign of it. (`test_emergency_callback.py` has the rest.)"""

import os
import shutil
import unittest

from daemon import DOMAIN
from emergency import EmergencyTest, invites
from namespaces import WAN_BOX
from scenario import Caller

VARIABLES = ["TEST_MODE", "TESTING", "CRESSET_TEST_MODE", "PBX_TEST_MODE", "PYTEST_CURRENT_TEST"]


class TestMode(EmergencyTest):
    start = False

    def run_box(self, *before):
        self.lab.daemon.stop()
        self.lab.daemon.before = list(before)
        self.lab.start_box()

    def assert_blocked(self):
        """911 is refused before any trunk, over TCP or UDP, however it is dialled; 933 goes out."""
        watched = self.watch_box()
        for number in ("911", "9911"):
            self.place(Caller("8888", number, DOMAIN).rejected(503))
        self.lab.register("2001", port=6001)
        self.place(Caller("2001", "933", DOMAIN, hold=20), self.lab.phone("2001"), port=6001)
        _, wan = self.stop(watched)
        self.assertEqual([each.user for each in invites(wan, source=WAN_BOX)], ["933"], self.box_log())
        self.assertTrue(any("911 blocked" in line or "every 911 is blocked" in line for line in self.lab.daemon.log))

    def test_environment(self):
        """a box in test mode by its environment never sends one"""
        self.answering(0)
        for variable in VARIABLES:
            with self.subTest(variable):
                self.run_box("env", f"{variable}=1")
                self.assert_blocked()
        self.figure = f"{', '.join(VARIABLES)}: no INVITE left, 933 did"

    def test_path(self):
        """a box in test mode by its configuration's path never sends one"""
        self.answering(0)
        box = self.lab.daemon
        home, box.configuration = box.configuration, os.path.join(self.lab.directory, "pbx-test-etc")
        self.addCleanup(setattr, box, "configuration", home)
        shutil.copytree(home, box.configuration)
        self.run_box()
        self.assert_blocked()
        self.figure = "…/pbx-test-etc: no INVITE left, 933 did"


if __name__ == "__main__":
    unittest.main(verbosity=2)
