"""Who is told of a call for help, when, and what becomes of 911 when nobody can be told."""

import socket
import unittest

from daemon import DOMAIN
from emergency import EmergencyTest, invites, through
from namespaces import LAN_BOX, WAN_BOX
from scenario import Called, Caller

MAIL, HOOK, PAGER = "192.168.50.66", "192.168.50.108", "192.168.50.109"
GROUP = "239.255.10.1"
NOTIFY = f'''
[notify.smtp]
server = "{MAIL}"
port = 25
tls = "off"
from = "box@example.com"
[notify.contacts.desk]
station = "2002"
[notify.contacts.speakers]
multicast = "{GROUP}:5004"
realm = "lan"
[notify.contacts.horn]
paging = "sip:all@{PAGER}"
realm = "lan"
[notify.contacts.mail]
email = "desk@example.com"
[notify.contacts.chat]
webhook = "http://{HOOK}:8080/notice"
'''
NOTICE_MAX = 100  # milliseconds after the INVITE left


class Notices(EmergencyTest):
    """A box per test: what an earlier call still has to tell would be taken for the next one's."""
    extra = {"notify.toml": NOTIFY}

    def notices(self, lan):
        """When each channel was first used: packets of the box to whom it tells."""
        first = {}
        for packet in lan:
            if packet.source != LAN_BOX:
                continue
            channel = {MAIL: "mail", HOOK: "webhook", PAGER: "page", GROUP: "multicast"}.get(packet.destination)
            if packet.destination == self.lab.phone("2002") and packet.payload.startswith(b"INVITE "):
                channel = "call"
            if channel:
                first.setdefault(channel, packet.time)
        return first

    def told(self, lan, wan, channels):
        left = invites(wan, source=WAN_BOX)[0].time
        first = {name: (at - left) / 1e6 for name, at in self.notices(lan).items()}
        self.assertLessEqual(set(channels), set(first), self.box_log())
        self.assertGreater(min(first.values()), 0, f"told before the INVITE left: {first}")
        self.assertLessEqual(min(first.values()), NOTICE_MAX, first)
        return first

    def listener(self, address, port):
        """Somebody who takes connections and says nothing."""
        with self.lab.network.phones.entered():
            made = socket.create_server((address, port))
        self.addCleanup(made.close)


class InviteFirst(Notices):
    def test_order(self):
        """the INVITE leaves before any notification starts"""
        self.answering(0)
        self.lab.register("2002", port=6002)
        self.lab.station("2002", Called(), port=6002)
        self.listener(MAIL, 25)
        self.listener(HOOK, 8080)
        watched = self.watch_box("udp or tcp")
        self.call(hold=1000)
        lan, wan = self.stop(watched)
        first = self.told(lan, wan, ("call", "multicast", "page", "mail", "webhook"))
        self.figure = "after it " + ", ".join(
            f"{name} {at:.1f} ms" for name, at in sorted(first.items(), key=lambda each: each[1]))


class ChannelsDead(Notices):
    def test_dead(self):
        """every notification channel dead"""
        self.answering(0)
        watched = self.watch_box()
        self.call(calls=5, hold=100, rate=10, limit=1)
        lan, wan = self.stop(watched)
        delays, count = through(lan, wan)
        self.assertEqual((len(delays), count), (5, 5))
        self.figure = f"5 calls, INVITE out after at most {max(delays):.2f} ms"


class ToldOfFailure(Notices):
    def test_failing(self):
        """people are told although every trunk is dead"""
        watched = self.watch_box("udp or tcp or arp")
        self.place(Caller("8888", "911", DOMAIN).rejected(480, 502, 503, 504))
        lan, wan = self.stop(watched)
        first = self.told(lan, wan, ("webhook", "mail"))
        self.figure = f"webhook {first['webhook']:.1f} ms after the first INVITE"


if __name__ == "__main__":
    unittest.main(verbosity=2)
