"""911 succeeds although: what may be in its way, one by one."""

import contextlib
import os
import socket
import time
import unittest

from counters import active_calls
from daemon import DOMAIN
from emergency import EmergencyTest, NOWHERE, SITES, TRUNKS, asked, emergency, invites, through, trunks
from namespaces import CARRIERS, LAN_BOX
from scenario import Caller

FAILOVER_MAX = {"silent": 4000, "silent after 100": 4000, "503": 1000, "ICMP": 1000, "TCP refused": 1000}  # milliseconds


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

    def test_blocklist_tcp(self):
        """source on the blocklist, over TCP"""
        address = self.lab.phone("2004")  # nobody who has called for help before: he would be heard
        self.lab.daemon.text("shield", "block", address)
        self.addCleanup(self.lab.daemon.text, "shield", "unblock", address)
        with self.lab.network.phones.entered():
            other = socket.create_connection((LAN_BOX, 5060), 3, (address, 0))
        self.addCleanup(other.close)
        other.settimeout(1)
        other.sendall(f"OPTIONS sip:{LAN_BOX} SIP/2.0\r\nVia: SIP/2.0/TCP {address};branch=z9hG4bK1\r\nFrom: <sip:x@{address}>;tag=1"
                      f"\r\nTo: <sip:{LAN_BOX}>\r\nCall-ID: 1@{address}\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n".encode())
        with self.assertRaises(TimeoutError, msg="anything else is not heard"):
            other.recv(1)
        self.call(address=address, transport="t1")
        self.assert_served(self.carrier)

    def test_rate_limit(self):
        """source beyond its rate limit"""
        address = f"{SITES['annex']}.102"
        sender = self.socket(address)
        dropped = self.dropped()
        deadline = time.monotonic() + 10
        while self.dropped() < dropped + 100 and time.monotonic() < deadline:
            for number in range(1000):
                sender.sendto(f"OPTIONS sip:{LAN_BOX} SIP/2.0\r\nVia: SIP/2.0/UDP {address};branch=z9hG4bK{number}\r\n"
                              f"From: <sip:x@{address}>;tag=1\r\nTo: <sip:{LAN_BOX}>\r\nCall-ID: {number}@{address}\r\n"
                              "CSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n".encode(), (LAN_BOX, 5060))
        self.assertGreaterEqual(self.dropped(), dropped + 100, "the source never met its limit")
        self.place_and_measure(address=address)

    def dropped(self):
        """Packets of sources beyond their rate, or of sources blocked for it."""
        counters = self.lab.daemon.status()["counters"]
        return sum(value for name, value in counters.items() if name.startswith("shield-dropped"))

    def socket(self, address):
        with self.lab.network.phones.entered():
            made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(made.close)
        made.bind((address, 0))
        return made

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

    def test_trying(self):
        """primary trunk silent after 100 Trying"""
        self.fail_over("silent after 100")

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

    def test_no_host(self):
        """primary trunk's host gone: nobody answers ARP"""
        address = f"{CARRIERS[0]}/24"
        self.lab.network.carrier.ip("addr", "del", address, "dev", "wan")
        self.addCleanup(self.lab.network.carrier.ip, "addr", "add", address, "dev", "wan")
        self.lab.network.box.ip("neigh", "flush", "dev", "wan0")
        self.answering(1)
        watched = self.watch_box("port 5060 or arp")
        self.call()
        _, wan = self.stop(watched)
        self.assert_placed_over(wan, 1)
        first = min(packet.time for packet in wan if asks_for(packet.frame, CARRIERS[0]))
        self.figure = f"next trunk after {(asked(wan, CARRIERS[1]) - first) / 1e6:.1f} ms"

    def test_all_dead(self):
        """every trunk dead: the phone is told, not left waiting"""
        for which in range(3):
            self.dead("503", which)
        watched = self.watch_box()
        self.place(Caller("8888", "911", DOMAIN).rejected(502, 503))
        lan, wan = self.stop(watched)
        self.assertEqual([each.destination for each in invites(wan)], CARRIERS)
        refused = max(packet.time for packet in lan if packet.payload.startswith(b"SIP/2.0 50"))
        self.figure = f"refused after {(refused - invites(lan)[0].time) / 1e6:.1f} ms"

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


def asks_for(frame, address):
    """An ARP request for this address (RFC 826)."""
    return frame[12:14] == b"\x08\x06" and frame[20:22] == b"\0\1" and frame[38:42] == socket.inet_aton(address)


class DiskFull(EmergencyTest):
    """The state directory is a file system of 64 kB with nothing left."""
    start = False

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        box = cls.lab.daemon
        # Mounted in the mount namespace `ip netns exec` makes: it ends with the process.
        box.before = ["sh", "-c", 'mount -t tmpfs -o size=64k tmpfs "$0" && exec "$@"', box.state]
        cls.lab.start_box()
        ballast = f"/proc/{box.process.pid}/root{box.state}/ballast"
        with contextlib.suppress(OSError), open(ballast, "wb", buffering=0) as file:
            while True:
                file.write(bytes(1024))

    def test_disk_full(self):
        """disk full"""
        self.assertEqual(os.statvfs(f"/proc/{self.lab.daemon.process.pid}/root{self.lab.daemon.state}").f_bavail, 0)
        self.answering(0)
        self.lab.register("2001", port=6001)
        watched = self.watch_box()
        self.call(calls=5, rate=10, limit=1)
        lan, wan = self.stop(watched)
        self.assert_placed_over(wan, 0)
        delays, count = through(lan, wan)
        self.assertEqual((len(delays), count), (5, 5))
        self.figure = f"5 calls, INVITE out after at most {max(delays):.2f} ms"
        self.lab.wait_for(lambda: any("cannot be written" in line for line in self.lab.daemon.log), "the box says so", 10)


if __name__ == "__main__":
    unittest.main(verbosity=2)
