"""Three sites and three carriers: which carrier is asked, and what it is told of the place."""

import unittest

from emergency import ELINS, EmergencyTest, PSAP, SITES, WAYS, asked, emergency, header, invites, sites, trunks
from namespaces import CARRIERS, WAN_BOX


class Office(EmergencyTest):
    first = ()
    extra = {"trunks.toml": trunks(more=WAYS), "sites.toml": sites(),
             "emergency.toml": emergency(more='default-site = "harbour"\n')}

    def placed_from(self, address, which):
        """The one INVITE that left for a call from `address`."""
        self.answering(which)
        watched = self.watch_box()
        self.call(address=address)
        _, wan = self.stop(watched)
        sent = invites(wan, source=WAN_BOX)
        self.assertEqual([each.destination for each in sent], [CARRIERS[which]], self.box_log())
        return sent[0]

    def test_harbour(self):
        """first site: its carrier gets the number of the place (ELIN)"""
        sent = self.placed_from(f"{SITES['harbour']}.103", 0)
        self.assertEqual(sent.user, "911")
        self.assertIn(ELINS["harbour"][0], header(sent.text, "From|f"))
        self.assertIn(ELINS["harbour"][0], header(sent.text, "P-Asserted-Identity"))
        self.assertIsNone(header(sent.text, "Geolocation"))
        self.figure = f"911 from {ELINS['harbour'][0]}"

    def test_warehouse(self):
        """second site: its carrier gets service URN, location and number"""
        sent = self.placed_from(f"{SITES['warehouse']}.103", 1)
        self.assertEqual(sent.uri, "urn:service:sos")
        self.assertIn(ELINS["warehouse"][0], header(sent.text, "From|f"))
        self.assertEqual(header(sent.text, "Geolocation-Routing"), "yes")
        self.assertEqual(header(sent.text, "Resource-Priority"), "esnet.1")
        self.assertIn("203 north", sent.text)
        self.figure = "urn:service:sos with PIDF-LO, room 203 north"

    def test_annex(self):
        """third site: its carrier gets the ten-digit number of the PSAP, location and the caller"""
        sent = self.placed_from(f"{SITES['annex']}.103", 2)
        self.assertEqual(sent.user, PSAP)
        self.assertIn("303 north", sent.text)
        self.figure = f"{PSAP} with PIDF-LO, room 303 north"

    def test_location_missing(self):
        """location missing"""
        self.configure(sites=sites(locations=False))
        self.addCleanup(self.restore_configuration)
        sent = self.placed_from(f"{SITES['warehouse']}.101", 1)
        self.figure = f"{sent.uri} without a location"

    def test_z_silent(self):  # its INVITE is repeated for a while: last
        """second site, its carrier silent: the next one is asked"""
        self.dead("silent", 1)
        self.answering(0)
        watched = self.watch_box()
        self.call(address=f"{SITES['warehouse']}.101")
        _, wan = self.stop(watched)
        took = (asked(wan, CARRIERS[0]) - asked(wan, CARRIERS[1])) / 1e6
        self.figure = f"next trunk after {took:.1f} ms"
        self.assertLessEqual(took, 4000, self.box_log())

    def test_tcp_dropped(self):
        """third site, location too large for a datagram, a firewall drops TCP: the same carrier over UDP"""
        self.configure(trunks=trunks({"carrier-c": "auto"}, WAYS))
        self.addCleanup(self.restore_configuration)
        rule = ["INPUT", "-p", "tcp", "--dport", "5060", "-j", "DROP"]
        self.lab.network.carrier.run("iptables", "-A", *rule)
        self.addCleanup(self.lab.network.carrier.run, "iptables", "-D", *rule)
        self.answering(2)
        watched = self.watch_box()
        self.call(address=f"{SITES['annex']}.103")
        lan, wan = self.stop(watched)
        sent = [each for each in invites(wan, source=WAN_BOX) if each.destination == CARRIERS[2]]
        self.assertTrue(sent, self.box_log())
        self.figure = f"over UDP after {(sent[0].time - asked(wan, CARRIERS[2])) / 1e6:.1f} ms"

    def test_site_unknown(self):
        """site unknown, as no address of it is configured"""
        sent = self.placed_from("192.168.53.102", 0)
        self.figure = f"{sent.user} over {sent.destination}"


if __name__ == "__main__":
    unittest.main(verbosity=2)
