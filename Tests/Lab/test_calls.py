"""Calls through the box, from answer to hang-up: who calls whom, who ends it, and everything that goes wrong politely."""

import socket
import unittest

import scenario
from labtest import LabTest
from namespaces import STRANGER, WAN_BOX
from scenario import Called, Caller, pause, receive, sdp

SPEECH = 600  # milliseconds
HOLD = SPEECH + 500


def outsider(called="+13135552002", **options):
    """Someone out there, calling one of our numbers through a trunk."""
    return Caller("+12125550199", called, WAN_BOX, from_domain="carrier.example", **options)


class Calls(LabTest):
    """One box for all of these: they also follow each other in one process, as calls do."""

    # Carriers come and go between these tests: their health is the subject of test_trunks.
    configuration = dict(health_interval=None, registration=False)

    def carrier(self, called, which=0, **options):
        endpoint = self.lab.carrier(called, which=which, digest=False, name=f"{self._testMethodName}-{'ab'[which]}", **options)
        self.addCleanup(endpoint.kill)
        return endpoint

    def station(self, user, called, **options):
        self.lab.register(user)
        endpoint = self.lab.station(user, called, **options)
        self.addCleanup(endpoint.kill)
        return endpoint

    def test_outbound(self):
        """station → trunk: digest, answer, speech both ways, BYE from the caller"""
        self.carrier(Called(audio=self.lab.noise(SPEECH)))
        self.assert_calls_with_speech(self.lab.caller(audio=self.lab.noise(SPEECH), hold=HOLD))

    def test_inbound(self):
        """trunk → station by its number"""
        self.carrier(Called())
        self.station("2002", Called())
        self.assert_good(self.lab.from_carrier(outsider(hold=300), calls=2, rate=5, timeout=15))

    def test_inside(self):
        """station → station: both legs on one interface, speech both ways"""
        self.station("2003", Called(audio=self.lab.noise(SPEECH)))
        watched = self.lab.watch("udp")
        self.assert_good(self.lab.from_station(
            self.lab.caller(called="2003", audio=self.lab.noise(SPEECH), hold=HOLD), calls=2, rate=5, timeout=15))
        self.assert_hairpin(watched[0].stop(), [self.lab.phone("2001")], [self.lab.phone("2003")])

    def test_early_media(self):
        """183 with SDP, then 180, then 200"""
        self.carrier(Called(ring=(183, 180)))
        caller = self.lab.caller(hold=200)
        self.assert_good(self.lab.from_station(
            [caller.start(), receive(100, optional=True), receive(183), receive(180), receive(200, rrs="true"),
             caller.request("ACK", caller.sequence, retrans=None), pause(200), caller.hang_up()],
            calls=2, rate=5, timeout=15))

    def test_cancel(self):
        """the caller gives up while it rings: 487, and the trunk gets a CANCEL"""
        carrier = self.carrier(Called(ring_time=4000))
        self.assert_good(self.lab.from_station(self.lab.caller().cancelled(), calls=2, rate=5, timeout=15))
        self.assert_served(carrier)

    def test_busy(self):
        """486 of the trunk reaches the caller; nobody else is tried"""
        self.carrier(Called().rejecting(486, "Busy Here"))
        self.assert_good(self.lab.from_station(self.lab.caller().rejected(486), calls=2, rate=5, timeout=15))

    def test_not_found(self):
        """404 of the trunk reaches the caller"""
        self.carrier(Called().rejecting(404, "Not Found"))
        self.assert_good(self.lab.from_station(self.lab.caller().rejected(404), calls=2, rate=5, timeout=15))

    def test_no_route(self):
        """a number no pattern matches is refused with 404 or 484"""
        self.assert_good(self.lab.from_station(self.lab.caller(called="12345678901234").rejected(404, 484),
                                               calls=1, timeout=10))

    def test_unregistered_station(self):
        """a call to a station that is not registered: 480"""
        self.assert_good(self.lab.from_station(self.lab.caller(called="2004x").rejected(404, 480, 484),
                                               calls=1, timeout=10))

    def test_wrong_password(self):
        """a wrong password never becomes a call or a registration"""
        caller = self.lab.caller()
        caller.password = "guessed"
        self.assert_good(self.lab.from_station(
            [caller.start(), receive(100, optional=True), receive(401, optional=True, next="no"),
             receive(407, optional=True, next="no"), receive(403), scenario.label("no"),
             caller.refuse_acknowledgement(2)], calls=1, timeout=10))
        self.assertFalse(self.lab.register("2003", password="guessed", check=False))

    def test_stranger(self):
        """a call from an address that is no trunk's is refused or ignored"""
        with self.lab.network.carrier.entered():
            stranger = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(stranger.close)
        stranger.bind((STRANGER, 5060))
        stranger.settimeout(1.5)
        self.station("2002", Called())
        stranger.sendto(f"INVITE sip:+13135552002@{WAN_BOX} SIP/2.0\r\nVia: SIP/2.0/UDP {STRANGER}:5060;branch=z9hG4bKstranger"
                        f"\r\nMax-Forwards: 70\r\nFrom: <sip:x@{STRANGER}>;tag=1\r\nTo: <sip:+13135552002@{WAN_BOX}>\r\n"
                        f"Call-ID: stranger@{STRANGER}\r\nCSeq: 1 INVITE\r\nContact: <sip:x@{STRANGER}>\r\n"
                        "Content-Length: 0\r\n\r\n".encode(), (WAN_BOX, 5060))
        try:
            answer = stranger.recv(65536)
        except TimeoutError:
            return
        self.assertRegex(answer, rb"^SIP/2.0 4(01|03|04|07) ")

    def test_failover_503(self):
        """503 of the first trunk: the second one takes the call"""
        self.carrier(Called().rejecting(503, "Service Unavailable"))
        second = self.carrier(Called(), which=1)
        self.assert_good(self.lab.from_station(self.lab.caller(hold=200), calls=2, rate=5, timeout=15))
        self.assert_served(second)

    def test_failover_silence(self):
        """the first trunk says nothing within attempt-timeout: the second one takes the call"""
        self.carrier([scenario.receive("INVITE"), pause(6000)])
        second = self.carrier(Called(), which=1)
        self.assert_good(self.lab.from_station(self.lab.caller(hold=200), calls=1, timeout=15))
        self.assert_served(second)

    def test_callee_hangs_up(self):
        """BYE from the called side"""
        self.carrier(Called().hanging_up(400))
        caller = self.lab.caller()
        self.assert_good(self.lab.from_station(
            [caller.start(), caller.answered(), *caller.await_hang_up()], calls=2, rate=5, timeout=15))

    def test_hold(self):
        """re-INVITE: hold with sendonly, resume with sendrecv"""
        self.carrier(Called().held_and_resumed())
        self.assert_good(self.lab.from_station(self.lab.caller(hold=300).hold_and_resume(300), calls=2, rate=5,
                                               timeout=15))

    def test_late_offer(self):
        """INVITE without SDP: the offer comes in the 200, the answer in the ACK; speech both ways"""
        self.carrier(Called(audio=self.lab.noise(SPEECH)))
        caller = self.lab.caller(audio=self.lab.noise(SPEECH), hold=HOLD, offer=None)
        self.assert_calls_with_speech(caller, [caller.start(), caller.answered(sdp()), caller.wait(), caller.hang_up()])

    def test_station_over_tcp(self):
        """a phone that speaks TCP calls and is called"""
        self.carrier(Called())
        self.assert_good(self.lab.from_station(self.lab.caller(hold=200), calls=2, rate=5, timeout=15, transport="t1"))
        phone = self.lab.tcp_phone("2002", Called())
        self.addCleanup(phone.kill)
        self.assert_good(self.lab.from_station(self.lab.caller(called="2002", hold=200), calls=1, timeout=15))

    def test_large_invite(self):
        """a 6 kB INVITE over UDP arrives; the trunk that has only UDP gets it too"""
        self.carrier(Called())
        extra = [f"X-Lab-{index}: {'x' * 80}" for index in range(62)]
        self.assert_good(self.lab.from_station(self.lab.caller(hold=200, extra=extra), calls=2, rate=5, timeout=15))

    def test_telephone_event_types(self):
        """the called side picks another payload type for telephone-event: the call stands"""
        self.carrier(Called(answer=sdp(formats="0 96", telephone_event=96)))
        self.assert_good(self.lab.from_station(self.lab.caller(hold=200), calls=1, timeout=15))

    def test_ipv6_phone(self):
        """a phone on IPv6 calls an IPv4 trunk: speech is relayed between the families"""
        self.carrier(Called(audio=self.lab.noise(SPEECH)))
        caller = self.lab.caller("2006", audio=self.lab.noise(SPEECH), hold=HOLD)
        self.assert_calls_with_speech(caller, user="2006")

    def test_unknown_headers_and_parts(self):
        """headers nobody knows are carried through"""
        wanted = '<ereg regexp="kept" search_in="hdr" header="X-Lab-Unknown:" check_it="true" assign_to="seen"/>' \
                 '<log message="[$seen]"/>'
        called = Called()
        self.carrier([receive("INVITE", rrs="true", actions=wanted), called.progress(), called.accept(), receive("BYE"),
                      scenario.ok()])
        self.assert_good(self.lab.from_station(self.lab.caller(hold=200, extra=["X-Lab-Unknown: kept"]), calls=1,
                                               timeout=15))


class TrunkOverTCP(LabTest):
    configuration = dict(trunk_transport="tcp", health_interval=None, registration=False, trunk_b=False)

    def test_trunk_over_tcp(self):
        """the trunk speaks TCP"""
        carrier = self.lab.carrier(Called(), transport="t1", digest=False)
        self.addCleanup(carrier.kill)
        self.assert_good(self.lab.from_station(self.lab.caller(hold=200), calls=2, rate=5, timeout=15))


class SmallMTU(LabTest):
    """A path of 1300 bytes, as a tunnel has."""
    mtu = 1300
    configuration = dict(health_interval=None, registration=False, trunk_b=False)

    def test_small_mtu(self):
        """messages larger than the path arrive all the same"""
        carrier = self.lab.carrier(Called(audio=self.lab.noise(SPEECH)), digest=False)
        self.addCleanup(carrier.kill)
        extra = [f"X-Lab-{index}: {'x' * 80}" for index in range(20)]
        self.assert_calls_with_speech(self.lab.caller(audio=self.lab.noise(SPEECH), hold=HOLD, extra=extra))


if __name__ == "__main__":
    unittest.main(verbosity=2)
