"""911 succeeds although: what may be in its way, one by one."""

import unittest

from counters import active_calls
from daemon import DOMAIN
from emergency import EmergencyTest, NOWHERE, TRUNKS, asked, emergency, through, trunks
from namespaces import CARRIERS
from scenario import Caller

FAILOVER_MAX = {"silent": 4200, "503": 1000, "ICMP": 1000, "TCP refused": 1000}  # milliseconds


class Phones(EmergencyTest):
    """What the phone or its place gives no reason to refuse."""
    calls_max = 1

    def setUp(self):
        super().setUp()
        self.carrier = self.answering(0)

    def place_and_measure(self, **options):
        watched = self.watch_box()
        self.call(**options)
        lan, wan = self.stop(watched)
        self.assert_placed_over(wan, 0)
        delays, count = through(lan, wan)
        self.assertEqual(len(delays), count, "an INVITE did not leave")
        self.figure = f"INVITE out after {max(delays):.2f} ms"

    def test_capacity(self):
        """calls at capacity"""
        self.lab.register("2001", port=6001)
        ordinary = self.place(Caller("2001", "95551234", DOMAIN, hold=3000), self.lab.phone("2001"), port=6001, wait=False)
        self.lab.wait_for(lambda: active_calls(self.lab.daemon) == 1, "an ordinary call fills the box", 10)
        self.place_and_measure()
        self.assert_good(ordinary)

    def test_blocklist(self):
        """source on the blocklist"""
        address = self.lab.phone("2003")
        self.lab.daemon.text("shield", "block", address)
        self.addCleanup(self.lab.daemon.text, "shield", "unblock", address)
        self.place_and_measure(address=address)

    def test_digest(self):
        """digest wrong"""
        self.place_and_measure(user="2001", headers=[
            f'Proxy-Authorization: Digest username="2001", realm="{DOMAIN}", nonce="0", uri="sip:911@{DOMAIN}", '
            'response="00000000000000000000000000000000"'])

    def test_site_unknown(self):
        """site unknown"""
        self.place_and_measure(address=f"{NOWHERE}.101")


class Carriers(EmergencyTest):
    """The primary trunk is of no use; the next one is asked in time."""

    def fail_over(self, kind):
        self.dead(kind)
        self.answering(1)
        watched = self.watch_box()
        self.call()
        _, wan = self.stop(watched)
        first, second = asked(wan, CARRIERS[0]), asked(wan, CARRIERS[1])
        self.assertIsNotNone(first, "the primary was not asked")
        self.assert_placed_over(wan, 1)
        took = (second - first) / 1e6
        self.figure = f"next trunk after {took:.1f} ms"
        self.assertLessEqual(took, FAILOVER_MAX[kind], self.box_log())

    def test_silent(self):
        """primary trunk silent"""
        self.fail_over("silent")

    def test_503(self):
        """primary trunk answers 503"""
        self.fail_over("503")

    def test_icmp(self):
        """primary trunk ICMP-unreachable"""
        self.fail_over("ICMP")

    def test_tcp_refused(self):
        """primary trunk TCP-refused"""
        self.configure(trunks=trunks({TRUNKS[0]: "tcp"}))
        self.addCleanup(self.restore_configuration)
        self.fail_over("TCP refused")

    def test_all_but_the_last(self):
        """every trunk but the last dead"""
        self.configure(trunks=trunks({TRUNKS[1]: "tcp"}))
        self.addCleanup(self.restore_configuration)
        self.dead("503", 0)
        self.answering(2)
        watched = self.watch_box()
        self.call()
        _, wan = self.stop(watched)
        self.assert_placed_over(wan, 2)
        self.figure = f"third trunk after {(asked(wan, CARRIERS[2]) - asked(wan, CARRIERS[0])) / 1e6:.1f} ms"

    def test_reload(self):
        """configuration commit in flight"""
        self.answering(0)
        watched = self.watch_box()
        caller = self.call(calls=20, rate=20, hold=50, wait=False, limit=1)
        reloads = 0
        while caller.process.poll() is None:
            self.configure(emergency=emergency("carrier-a" if reloads % 2 else "carrier-c", "carrier-a"))
            reloads += 1
        self.restore_configuration()
        self.assert_good(caller)
        lan, wan = self.stop(watched)
        delays, count = through(lan, wan)
        self.assertEqual((len(delays), count), (20, 20))
        self.figure = f"{reloads} commits under 20 calls, INVITE out after at most {max(delays):.1f} ms"


if __name__ == "__main__":
    unittest.main(verbosity=2)
