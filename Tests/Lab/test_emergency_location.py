"""What each carrier is told of where the caller is, read by others: Python's `email`, libxml2 and the RFCs' schemas."""

import os
import unittest

import pidflo
from daemon import DOMAIN
from emergency import CARRIERS, ELINS, EmergencyTest, PSAP, SITES, WAYS, sites, trunks
from scenario import Called


class Location(EmergencyTest):
    extra = {"trunks.toml": trunks(more=WAYS.items()), "sites.toml": sites(),
             "stations.toml": "\n".join(
                 f'[stations.{user}]\nrealm = "{realm}"\npassword = "correct-horse"\nnumber = "+1313555{user}"\n{more}'
                 for user, realm, more in (
                     ("2001", "lan", ""), ("2002", "lan", 'building = "North & <South>"\nroom = "7"\n'),
                     ("2003", "lan", ""), ("2006", "lan6", "")))}

    def answer(self, which, **options):
        """A carrier that keeps every message as it received it."""
        log = os.path.join(self.lab.directory, self.lab._unique("messages"))
        self.lab.carrier(Called(ring_time=20), which, digest=False,
                         options=["-trace_msg", "-message_file", log], **options)
        return log

    def invite(self, log):
        found = [each for each in pidflo.received(log) if each.startswith(b"INVITE ")]
        self.assertTrue(found, f"the carrier received no INVITE\n{self.box_log()}")
        return pidflo.check(found[-1])

    def test_pidf(self):
        """a PIDF-LO that is valid, in a multipart that is well formed"""
        log = self.answer(2)
        self.call(user="2002", address=f"{SITES['annex']}.102")
        got = self.invite(log)
        self.assertEqual(got.start, f"INVITE sip:{PSAP}@{CARRIERS[2]} SIP/2.0")
        self.assertEqual(got.types, ["application/sdp", "application/pidf+xml"])
        self.assertEqual(got.headers["geolocation-routing"], ["yes"])
        self.assertEqual(got.headers["priority"], ["emergency"])
        self.assertIn("geolocation-sip", got.headers["supported"][0])
        self.assertTrue(got.geolocation[0].endswith(f";loc-src={DOMAIN}"), got.geolocation)
        [there] = got.locations
        self.assertEqual(there.elements, dict(
            country="US", A1="MI", A2="Wayne", A3="Detroit", RD="Example", STS="Street", HNO="102", PC="48201",
            BLD="North & <South>", ROOM="7"), "in another building the site's floor is not the caller's")
        self.figure = f"{', '.join(f'{name} {text}' for name, text in there.elements.items())}"

    def test_subnet(self):
        """the subnet's room, to an i3 trunk: service URN, Route and Resource-Priority"""
        log = self.answer(1)
        self.call(user="2001", address=f"{SITES['warehouse']}.103")
        got = self.invite(log)
        self.assertEqual(got.start, "INVITE urn:service:sos SIP/2.0")
        self.assertEqual(got.headers["route"], [f"<sip:{CARRIERS[1]}:5060;lr>"])
        self.assertEqual(got.headers["resource-priority"], ["esnet.1"])
        self.assertEqual(got.locations[0].elements["ROOM"], "203 north")
        self.assertEqual(got.locations[0].elements["FLR"], "2")

    def test_tcp(self):
        """the same over TCP, where the trunk has it and the INVITE is too large for a datagram"""
        self.addCleanup(self.restore_configuration)
        self.configure(trunks=trunks(transports=[("carrier-c", "auto")], more=WAYS.items()))
        log = self.answer(2, transport="t1")
        self.call(user="2002", address=f"{SITES['annex']}.102")
        got = self.invite(log)
        self.assertIn("SIP/2.0/TCP", got.headers["via"][0])
        self.assertEqual(len(got.locations), 1)

    def test_none(self):
        """the ELIN, and no location, to a trunk that wants numbers"""
        log = self.answer(0)
        self.call(user="2001", address=f"{SITES['harbour']}.101")
        got = self.invite(log)
        self.assertIn(ELINS["harbour"][0], got.headers["from"][0], "the ELIN calls")
        self.assertEqual(got.types, ["application/sdp"])
        self.assertEqual(got.geolocation, [])


if __name__ == "__main__":
    unittest.main(verbosity=2)
