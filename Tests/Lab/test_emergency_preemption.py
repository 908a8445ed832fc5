"""Everything is taken: the youngest ordinary call makes room for 911."""

import unittest

import daemon
from counters import active_calls
from daemon import DOMAIN
from emergency import EmergencyTest, through
from scenario import Caller


class Preemption(EmergencyTest):
    """The box has media ports for one call on the phones' side."""
    extra = {"realms.toml": daemon.configuration()["realms.toml"].replace("20000-29999", "20000-20001", 1)}

    def test_ports(self):
        """no media port left: the youngest ordinary call ends, 911 is placed"""
        self.answering(0)
        self.lab.register("2001", port=6001)
        ordinary = Caller("2001", "95551234", DOMAIN)
        talking = self.place([ordinary.start(), ordinary.answered(), ordinary.await_hang_up()], self.lab.phone("2001"),
                             port=6001, wait=False)
        self.lab.wait_for(lambda: any(call["state"] == "answered" for call in self.lab.daemon.calls()["calls"]),
                          "an ordinary call takes the ports", 10)
        watched = self.watch_box()
        self.call()
        lan, wan = self.stop(watched)
        self.assert_placed_over(wan, 0)
        self.assert_good(talking)
        self.assertEqual(active_calls(self.lab.daemon), 0)
        self.figure = f"INVITE out after {max(through(lan, wan)[0]):.2f} ms"


if __name__ == "__main__":
    unittest.main(verbosity=2)
