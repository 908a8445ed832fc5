"""Bad input, sudden death, and configuration changes with calls up."""

import os
import re
import socket
import subprocess
import time
import unittest

import capture
import loss
from counters import active_calls, attachments
from daemon import DOMAIN, PASSWORD, binary, configuration
from labtest import LabTest
from namespaces import CARRIERS, LAN_BOX, PHONES
from scenario import Called, sdp

TRUNK_ALONE = dict(health_interval=None, registration=False, trunk_b=False)


def request(method="OPTIONS", uri=f"sip:{DOMAIN}", sequence=1, replace=None, without=(), extra=(), body=b"",
            length=None, version="SIP/2.0", via="SIP/2.0/UDP", port=5999, host=PHONES[0], name=None):
    """A request with something wrong in it."""
    request.count += 1
    name = name or f"bad{request.count}"
    lines = {
        "Via": f"{via} {host}:{port};branch=z9hG4bK{name};rport",
        "Max-Forwards": "70",
        "From": f"<sip:2001@{DOMAIN}>;tag={name}",
        "To": f"<sip:2001@{DOMAIN}>",
        "Call-ID": f"{name}@{host}",
        "CSeq": f"{sequence} {method}",
        "Contact": f"<sip:2001@{host}:{port}>",
        "Content-Length": str(len(body) if length is None else length),
    }
    lines.update(replace or {})
    text = f"{method} {uri} {version}\r\n"
    text += "".join(f"{key}: {value}\r\n" for key, value in lines.items() if key not in without)
    text += "".join(f"{line}\r\n" for line in extra)
    return text.encode() + b"\r\n" + body


request.count = 0
SILENCE = None


def cases():
    """(name, datagram, what may come back)."""
    return [
        ("nothing", b"", [SILENCE]),
        ("line ends only", b"\r\n\r\n", [SILENCE, b"\r\n"]),
        ("noise", os.urandom(400), [SILENCE]),
        ("text", b"hello\r\n\r\n", [SILENCE]),
        ("no Via", request(without=["Via"]), [SILENCE, 400]),
        ("no CSeq", request(without=["CSeq"]), [SILENCE, 400]),
        ("no From", request(without=["From"]), [SILENCE, 400]),
        ("no Call-ID", request(without=["Call-ID"]), [SILENCE, 400]),
        ("CSeq of another method", request(replace={"CSeq": "1 INVITE"}), [400]),
        ("CSeq too large", request(replace={"CSeq": "99999999999 OPTIONS"}), [400]),
        ("body shorter than Content-Length", request(length=4000), [400]),
        ("negative Content-Length", request(length="-1"), [400]),
        ("huge Content-Length", request(length="99999999999999999999"), [400]),
        ("SIP/7.0", request(version="SIP/7.0", replace={"Via": f"SIP/7.0/UDP {PHONES[0]}:5999;branch=z9hG4bKv7;rport"}), [505, 400, SILENCE]),
        ("Max-Forwards 0", request("INVITE", f"sip:95551234@{DOMAIN}", replace={"Max-Forwards": "0"}), [483, 401, 407]),
        ("unknown method", request("JUMP"), [405, 501, 401, 407, 403]),
        ("unknown Require", request("INVITE", f"sip:95551234@{DOMAIN}", extra=["Require: time-travel"]), [420, 401, 407]),
        ("unknown transport in Via", request(via="SIP/2.0/PIGEON"), [SILENCE, 200, 400, 405]),
        ("unknown scheme", request(uri="soap.beep://192.0.2.103:3002"), [416, 400, 404, 401, 407]),
        ("response to nothing", b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 192.168.50.1:5060;branch=z9hG4bKx\r\nFrom: <sip:a@b>;tag=1"
         b"\r\nTo: <sip:a@b>;tag=2\r\nCall-ID: none\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n", [SILENCE]),
        ("BYE outside a dialog", request("BYE", replace={"To": f"<sip:x@{DOMAIN}>;tag=none"}), [481]),
        ("CANCEL of nothing", request("CANCEL"), [481]),
        ("ACK of nothing", request("ACK"), [SILENCE]),
        ("unknown station registers", request("REGISTER", replace={"To": f"<sip:9999@{DOMAIN}>", "From": f"<sip:9999@{DOMAIN}>;tag=1"}), [401, 403, 404]),
        ("forged nonce", request("REGISTER", extra=[
            f'Authorization: Digest username="2001", realm="{DOMAIN}", nonce="forged", uri="sip:{DOMAIN}", response="{"0" * 32}", '
            'algorithm=MD5, qop=auth, nc=00000001, cnonce="x"']), [401, 403]),
        ("authorization of rubbish", request("REGISTER", extra=['Authorization: Digest username="2001, =,,;"']), [400, 401, 403]),
        ("60 kB of headers", request(extra=[f"X-Fill-{index}: {'x' * 200}" for index in range(280)]), [SILENCE, 200, 400, 405, 413, 513]),
        ("deep multipart", request("INVITE", f"sip:95551234@{DOMAIN}", extra=["Content-Type: multipart/mixed;boundary=a"],
                                   body=b"--a\r\nContent-Type: multipart/mixed;boundary=a\r\n\r\n" * 200), [400, 401, 407, 415, 488]),
    ]


def status_of(datagram):
    match = re.match(rb"SIP/2.0 (\d{3}) ", datagram)
    return int(match.group(1)) if match else datagram


class BadInput(LabTest):
    # The shield would block this phone, and rightly so.
    configuration = dict(extra={"shield.toml": "[shield]\nenabled = false\n"}, **TRUNK_ALONE)

    def phone(self):
        with self.lab.network.phones.entered():
            phone = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        phone.bind((PHONES[0], 5999))
        phone.settimeout(0.4)
        self.addCleanup(phone.close)
        return phone

    def answers(self, phone, sent):
        """The first final answer that comes; answers to earlier requests, sent again because we never ACK, do not count."""
        call = re.search(rb"^Call-ID: (\S+)\r$", sent, re.M)
        while True:
            try:
                datagram = phone.recv(65536)
            except TimeoutError:
                return SILENCE
            if b"Call-ID: " in datagram and (not call or b"Call-ID: " + call.group(1) not in datagram):
                continue
            answer = status_of(datagram)
            if not isinstance(answer, int) or answer >= 200:
                return answer

    def test_datagrams(self):
        """malformed and oversized datagrams: the right answer or silence, and the box lives"""
        phone = self.phone()
        for name, datagram, allowed in cases():
            with self.subTest(name):
                phone.sendto(datagram, (LAN_BOX, 5060))
                answer = self.answers(phone, datagram)
                self.assertIn(answer, allowed, name)
                self.assertTrue(self.lab.daemon.alive, name)

    def test_stream(self):
        """TCP: one byte at a time is understood; rubbish closes the connection; many connections do no harm"""
        def connect():
            with self.lab.network.phones.entered():
                stream = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            stream.bind((PHONES[0], 0))
            stream.settimeout(3)
            stream.connect((LAN_BOX, 5060))
            self.addCleanup(stream.close)
            return stream
        slow = connect()
        slow.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in request(via="SIP/2.0/TCP", port=slow.getsockname()[1]):
            slow.send(bytes([byte]))
        self.assertIsInstance(status_of(slow.recv(65536)), int)
        two = connect()
        two.send(request(via="SIP/2.0/TCP", port=two.getsockname()[1]) + request(via="SIP/2.0/TCP", port=two.getsockname()[1]))
        received = b""
        deadline = time.monotonic() + 3
        while received.count(b"SIP/2.0 2") + received.count(b"SIP/2.0 4") < 2 and time.monotonic() < deadline:
            received += two.recv(65536)
        for rubbish in (os.urandom(3000) + b"\r\n\r\n", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
                        request(via="SIP/2.0/TCP", length="-5"), b"INVITE sip:a@b SIP/2.0\r\n" + b"X: " + b"y" * 200_000):
            stream = connect()
            try:
                stream.sendall(rubbish)
                while stream.recv(65536):
                    pass
            except (ConnectionResetError, BrokenPipeError):
                pass  # closed in our face: as good
            except TimeoutError:
                self.fail(f"still open after {rubbish[:40]!r}")
        for _ in range(50):
            connect().close()
        self.assertTrue(self.lab.daemon.alive)

    def test_unusable_offers(self):
        """SDP that offers nothing we can relay: 488 (or 400, 415, 606), no call"""
        for name, offer in (("port 0", sdp(port="0")),
                            ("not SDP", "this is not a session description"),
                            ("no address", "v=0\no=- 1 1 IN IP4 192.0.2.1\ns=-\nt=0 0\nm=audio 4000 RTP/AVP 0")):
            with self.subTest(name):
                caller = self.lab.caller(offer=offer)
                self.assert_good(self.lab.from_station(caller.rejected(400, 415, 606, 488), calls=1, timeout=10))


class Life(LabTest):
    configuration = TRUNK_ALONE
    speech = 3000

    def carrier(self, milliseconds):
        endpoint = self.lab.carrier(Called(audio=self.lab.noise(milliseconds)), digest=False)
        self.addCleanup(endpoint.kill)
        return endpoint

    def speak(self):
        self.assert_calls_with_speech(self.lab.caller(audio=self.lab.noise(400), hold=900), calls=1)

    def test_reload_with_a_call_up(self):
        """SIGHUP adds a station while somebody speaks: not a packet is lost, and the station can register"""
        self.carrier(self.speech)
        watched = self.lab.watch("udp")
        caller = self.lab.from_station(self.lab.caller(audio=self.lab.noise(self.speech), hold=self.speech + 600), calls=1,
                                       timeout=20)
        self.lab.wait_for(lambda: active_calls(self.lab.daemon) == 1, "the call is up")
        self.assertFalse(self.lab.register("2004", check=False), "2004 is not known yet")
        self.lab.daemon.write(configuration(stations=("2001", "2002", "2003", "2004"), **TRUNK_ALONE))
        self.lab.daemon.reload()
        self.lab.wait_for(lambda: self.lab.register("2004", check=False), "2004 can register", 5)
        self.assertEqual(active_calls(self.lab.daemon), 1, "the call is still up")
        self.assert_good(caller)
        phones, carrier = (each.stop() for each in watched)
        self.assert_complete(
            capture.Direction("to the trunk").add(capture.rtp_from(phones, PHONES), capture.rtp_to(carrier, CARRIERS)),
            capture.Direction("to the phone").add(capture.rtp_from(carrier, CARRIERS), capture.rtp_to(phones, PHONES)))

    def test_reload_of_nonsense(self):
        """an invalid configuration on SIGHUP changes nothing; `cresset check` names file, line and key"""
        files = configuration(**TRUNK_ALONE)
        files["system.toml"] = files["system.toml"].replace("maximum = 120", 'maximum = "many"\nmaximun = 3')
        files["stations.toml"] = ""
        self.lab.daemon.write(files)
        check = subprocess.run([binary("cresset"), "check", "--config", self.lab.daemon.configuration],
                               capture_output=True, text=True, stdin=subprocess.DEVNULL)
        self.assertEqual(check.returncode, 1, check.stdout + check.stderr)
        for word in ("system.toml", "maximum", "maximun"):
            self.assertIn(word, check.stdout + check.stderr)
        self.lab.daemon.reload()
        time.sleep(0.5)
        self.assertTrue(self.lab.daemon.alive)
        self.lab.register("2001", port=5062)
        self.lab.daemon.write(configuration(**TRUNK_ALONE))
        check = subprocess.run([binary("cresset"), "check", "--config", self.lab.daemon.configuration],
                               capture_output=True, text=True, stdin=subprocess.DEVNULL)
        self.assertEqual(check.returncode, 0, check.stdout + check.stderr)

    def test_killed(self):
        """kill -9 with calls up: the next start finds nothing in its way and calls work at once"""
        self.carrier(400)
        self.speak()
        clean = attachments(self.lab.network.box)
        self.assertTrue(clean)
        caller = self.lab.from_station(self.lab.caller(audio=self.lab.noise(4000), hold=4000), calls=3, rate=10, timeout=30)
        self.lab.wait_for(lambda: active_calls(self.lab.daemon) == 3, "three calls are up")
        self.lab.daemon.kill()
        caller.kill()
        time.sleep(0.6)  # the trunk's speech of the dead calls has ended
        self.lab.daemon.start()
        self.assertEqual(attachments(self.lab.network.box), clean, "programs in the way after the restart")
        self.assertEqual(active_calls(self.lab.daemon), 0)
        self.speak()

    def test_zz_clean_end(self):
        """SIGTERM ends it with status 0 and takes every BPF program along"""
        self.assertEqual(self.lab.daemon.stop(), 0)
        self.assertEqual(attachments(self.lab.network.box), {})
        self.lab.daemon.start()


class Full(LabTest):
    configuration = dict(calls_max=3, **TRUNK_ALONE)

    def test_full_house(self):
        """one call too many: 503, and room again when a call has ended"""
        endpoint = self.lab.carrier(Called(), digest=False)
        self.addCleanup(endpoint.kill)
        held = self.lab.from_station(self.lab.caller(hold=2500), calls=3, rate=20, timeout=15)
        self.lab.wait_for(lambda: active_calls(self.lab.daemon) == 3, "three calls are up")
        self.assert_good(self.lab.from_station(self.lab.caller().rejected(486, 503), calls=1, timeout=10))
        self.assert_good(held)
        self.assert_idle()
        self.assert_good(self.lab.from_station(self.lab.caller(hold=100), calls=1, timeout=10))


class Loss(LabTest):
    configuration = dict(attempt_timeout="10s", **{**TRUNK_ALONE, "trunk_b": True})

    def test_lossy_signalling(self):
        """5 % of the signalling lost in each direction on each wire: every call completes"""

        self.assertEqual(loss.lossy_calls(self.lab, 5, 15), [])
        for namespace in (self.lab.network.box, self.lab.network.phones, self.lab.network.carrier):
            namespace.run("iptables", "-F", check=False)
        self.assert_idle(40)


if __name__ == "__main__":
    unittest.main(verbosity=2)
