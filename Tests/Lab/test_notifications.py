"""People are told of a 911 call: mail over TLS, signed webhooks, announcement calls; behind the INVITE and never instead of it."""

import hashlib
import hmac
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import unittest

from daemon import REPOSITORY
from labtest import LabTest
from namespaces import LAN_BOX, PHONES
from rtp import EVENT, Talker
from scenario import Called, Caller, sdp

SECRET = "lighthouse-and-tide"
RECEIVERS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "receivers.py")
SMTP_PORT, HTTP_PORT, DEAD_PORT = 2525, 8443, 9


def certificates(directory):
    """A CA and a certificate for the receivers' address, made by openssl."""
    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], cwd=directory, check=True, capture_output=True)
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-days", "2",
            "-subj", "/CN=Lab CA", "-addext", "basicConstraints=critical,CA:TRUE")
    openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=receiver")
    with open(os.path.join(directory, "ext"), "w") as file:
        file.write(f"subjectAltName=IP:{PHONES[2]}\n")
    openssl("x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
            "-extfile", "ext", "-out", "server.pem")
    with open(os.path.join(directory, "ca.pem")) as file:
        return file.read()


class Receivers:
    """A mail server with STARTTLS and a web server with TLS, real ones, in a process of its own in a namespace."""

    def __init__(self, namespace, directory):
        self.log = os.path.join(directory, "received.jsonl")
        self.process = namespace.start("/usr/bin/python3", "-B", RECEIVERS, PHONES[2], SMTP_PORT, HTTP_PORT, directory, self.log,
                                       stdout=subprocess.PIPE, text=True)
        if self.process.stdout.readline().strip() != "ready":
            raise RuntimeError("the receivers do not start")

    def stop(self):
        self.process.terminate()
        self.process.wait(10)
        self.process.stdout.close()

    def forget(self):
        open(self.log, "w").close()

    def all(self, kind):
        if not os.path.exists(self.log):
            return []
        with open(self.log) as file:
            return [entry for entry in map(json.loads, file) if entry["kind"] == kind]


def notify(smtp_port=SMTP_PORT, http_port=HTTP_PORT, tries=3):
    return f"""
[notify]
escalation-after = "5s"
tries = {tries}
retry-after = "200ms"
repetitions = 1

[notify.smtp]
server = "{PHONES[2]}"
port = {smtp_port}
from = "box@example.com"
username = "box"
password = "{SECRET}"
ca-file = "ca.pem"

[notify.contacts.front-desk]
station = "2002"

[notify.contacts.mailbox]
email = ["security@example.com", "front-desk@example.com"]

[notify.contacts.sms]
webhook = "https://{PHONES[2]}:{http_port}/sms"
secret = "{SECRET}"
ca-file = "ca.pem"

[notify.contacts.manager]
webhook = "https://{PHONES[2]}:{http_port}/manager"
secret = "{SECRET}"
ca-file = "ca.pem"
level = 2
"""


class Notified(LabTest):
    ports = (SMTP_PORT, HTTP_PORT)

    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.TemporaryDirectory(prefix="cresset-receivers-")
        cls.addClassCleanup(cls.directory.cleanup)
        os.chmod(cls.directory.name, 0o755)
        authority = certificates(cls.directory.name)
        cls.configuration = dict(health_interval=None, registration=False, extra={
            "emergency.toml": '[emergency]\nattempt-timeout = "1s"\n', "notify.toml": notify(*cls.ports),
            "ca.pem": authority})
        super().setUpClass()

    def call(self, hold=1500):
        """A 911 call that is answered and lasts a moment."""
        carrier = self.lab.carrier(Called(), which=0, digest=False)
        self.addCleanup(carrier.kill)
        caller = self.lab.from_station(Caller("2001", "911", hold=hold), user="2001", calls=1, timeout=30)
        self.assert_good(caller)
        return carrier

    def notices(self, call=0):
        answer = self.lab.daemon.ask("emergency", "notices")
        return answer["calls"][call]

    def notice(self, contact, call=0):
        return [entry for entry in self.notices(call)["notifications"] if entry["target"] == contact]


class EveryChannel(Notified):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.receivers = Receivers(cls.lab.network.phones, cls.directory.name)
        cls.addClassCleanup(cls.receivers.stop)

    def setUp(self):
        super().setUp()
        self.receivers.forget()

    def test_written_notices(self):
        """mail arrives over STARTTLS with a password, webhooks arrive signed; the next level follows; acknowledged on the console"""
        watched = self.lab.watch("port 5060 or port %d or port %d" % (SMTP_PORT, HTTP_PORT))
        self.call()
        self.lab.wait_for(lambda: len(self.receivers.all("mail")) >= 3, "mail of call, answer and end", 15)
        mail = self.receivers.all("mail")[0]
        self.assertTrue(mail["tls"])
        self.assertEqual(mail["user"], "box")
        self.assertEqual(mail["to"], ["security@example.com", "front-desk@example.com"])
        self.assertIn("911 call", mail["subject"])
        for needed in ("A 911 call was made.", "Call back:  +13135552001", "2001", "Location:"):
            self.assertIn(needed, mail["body"])
        self.lab.wait_for(lambda: len(self.receivers.all("post")) >= 3, "webhooks", 15)
        for post in self.receivers.all("post"):
            signed = f'{post["headers"]["x-cresset-timestamp"]}.{post["body"]}'.encode()
            expected = "sha256=" + hmac.new(SECRET.encode(), signed, hashlib.sha256).hexdigest()
            self.assertEqual(post["headers"]["x-cresset-signature"], expected)
            self.assertLess(abs(int(post["headers"]["x-cresset-timestamp"]) - time.time()), 60)
        states = [json.loads(post["body"])["state"] for post in self.receivers.all("post") if post["path"] == "/sms"]
        self.assertEqual(states[-1], "ended")
        # Nobody acknowledged within five seconds.
        self.lab.wait_for(lambda: any(post["path"] == "/manager" for post in self.receivers.all("post")), "the manager", 15)
        status = self.lab.daemon.status()
        self.assertEqual(status["beacon"]["state"], "steady")
        with open(os.path.join(self.lab.daemon.state, "beacon.json")) as file:
            self.assertEqual(json.load(file)["state"], "steady")
        said = self.lab.daemon.text("emergency", "ack")
        self.assertIn("acknowledged by root", said)
        self.assertEqual(self.lab.daemon.status()["beacon"]["state"], "off")
        self.assertEqual(self.notices()["acknowledged"]["by"], "root")
        self.assertTrue(self.notice("mailbox")[0]["delivered"], self.notices())
        self.invite_first(watched)

    def test_courier_killed(self):
        """a courier killed with notices in hand is started again, and they arrive"""
        before = len(self.receivers.all("post"))
        self.receivers.process.send_signal(signal.SIGSTOP)
        try:
            self.call(hold=100)
            self.lab.wait_for(self.couriers, "the courier runs", 5)
            for process in self.couriers():
                os.kill(process, signal.SIGKILL)
            self.lab.wait_for(lambda: any("the courier ended, signal 9" in line for line in self.lab.daemon.log),
                              "its death is noticed", 5)
        finally:
            self.receivers.process.send_signal(signal.SIGCONT)
        self.lab.wait_for(lambda: len(self.receivers.all("post")) > before, "a webhook", 20)
        self.lab.wait_for(lambda: self.notice("sms")[0]["delivered"], "the record says so", 10)
        self.lab.daemon.text("emergency", "ack")

    def couriers(self):
        """Children of the daemon that are couriers."""
        path = f"/proc/{self.lab.daemon.process.pid}/task/{self.lab.daemon.process.pid}/children"
        with open(path) as file:
            return [int(child) for child in file.read().split()
                    if "cresset-courier" in os.readlink(f"/proc/{child}/exe")]

    def invite_first(self, watched):
        """By the packets' times: the INVITE to the carrier is before the first packet of any notice."""
        phones, carrier = (each.stop() for each in watched)
        invites = [packet.time for packet in carrier if packet.payload.startswith(b"INVITE sip:911@")]
        notices = [packet.time for packet in phones if packet.destination_port in (SMTP_PORT, HTTP_PORT)
                   or packet.payload.startswith(b"INVITE") and packet.destination == PHONES[1]]
        self.assertTrue(invites and notices)
        delay = (min(notices) - min(invites)) / 1e6
        print(f"first packet of a notice {delay:.1f} ms after the INVITE", file=sys.stderr)
        self.assertGreater(delay, 0)


class Person(Notified):
    """A station is rung, and a person answers."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.lab.daemon.stop()
        cls.lab.daemon.arguments = ("--synthesizer", "/nonexistent", "--phrases", os.path.join(REPOSITORY, "share", "phrases"))
        cls.lab.daemon.start()

    def test_key(self):
        """the front desk hears who dialled 911, presses 1, and is in the record; nobody of the next level is told"""
        self.lab.register("2002", port=6010)
        talker = Talker(self.lab.network.phones, PHONES[1], 18000, ssrc=0x1234)
        self.addCleanup(talker.close)
        desk = self.lab.station("2002", Called(answer=sdp(port="18000")), port=6010, calls=1)
        self.call(hold=300)
        self.lab.wait_for(lambda: len(talker.heard["rtp"]) > 150, "three seconds of speech", 15)
        placed = [call for call in self.lab.daemon.calls()["calls"] if call["flows"][0]["direction"] == "box-to-callee"]
        self.assertEqual(len(placed), 1)
        talker.target = (LAN_BOX, int(placed[0]["flows"][0]["local"].rsplit(":", 1)[1]))
        talker.speak(range(6), payload_types={number: EVENT for number in range(6)})
        self.lab.wait_for(lambda: self.notices()["acknowledged"], "the key is heard", 10)
        self.assertEqual((self.notices()["acknowledged"]["by"], self.notices()["acknowledged"]["means"]),
                         ("front-desk", "key"))
        self.assertEqual(desk.wait(), 0, desk.errors())
        self.lab.wait_for(lambda: self.notice("front-desk")[0]["end-ms"] is not None, "the announcement ends", 10)
        self.assertIn("acknowledged by key", self.notice("front-desk")[0]["result"])
        self.assertEqual(self.notice("manager"), [])
        self.assertEqual(self.lab.daemon.status()["beacon"]["state"], "off")

    def test_restart(self):
        """SIGKILL during a 911 call: the beacon is on again after the restart, until somebody acknowledges it"""
        carrier = self.lab.carrier(Called(), which=0, digest=False)
        self.addCleanup(carrier.kill)
        caller = self.lab.from_station(Caller("2001", "911", hold=60000), user="2001", calls=1, timeout=90)
        self.lab.wait_for(lambda: self.lab.daemon.status()["beacon"]["state"] == "active", "the beacon is on", 10)
        beacon = os.path.join(self.lab.daemon.state, "beacon.json")
        self.lab.wait_for(lambda: os.path.exists(beacon) and '"active"' in open(beacon).read(), "the state file", 5)
        self.lab.daemon.kill()
        caller.kill()
        self.lab.daemon.start()
        self.assertEqual(self.lab.daemon.status()["beacon"]["state"], "steady")
        self.assertIn("BEACON STEADY", self.lab.daemon.text("status"))
        self.assertIn("acknowledged by root", self.lab.daemon.text("emergency", "ack"))
        self.assertEqual(self.lab.daemon.status()["beacon"]["state"], "off")
        self.lab.wait_for(lambda: '"off"' in open(beacon).read(), "the state file says so", 5)

    def test_blocked(self):
        """a call that test mode blocks is told as blocked"""
        self.lab.daemon.ask("emergency", "test-mode", "arm", "5")
        try:
            self.lab.from_station(Caller("2001", "911", hold=100), user="2001", calls=1, timeout=10).wait()
            self.lab.wait_for(lambda: self.notices()["blocked-by"], "the blocked call", 10)
            self.assertEqual(self.notice("front-desk")[0]["occasion"], "blocked")
            self.assertEqual(self.notices()["attempts"], [])
        finally:
            self.lab.daemon.ask("emergency", "test-mode", "disarm")
            self.lab.daemon.text("emergency", "ack")


class EveryChannelDead(Notified):
    ports = (DEAD_PORT, DEAD_PORT)

    def test_dead(self):
        """with every channel dead the call is answered all the same, and the record says what failed"""
        started = time.monotonic()
        self.call(hold=200)
        self.assertLess(time.monotonic() - started, 5)
        self.lab.wait_for(lambda: all(entry["end-ms"] is not None for entry in self.notices()["notifications"]),
                          "all notices are given up", 40)
        for entry in self.notices()["notifications"]:
            self.assertFalse(entry["delivered"], entry)
            self.assertEqual(entry["tries"], 3, entry)
            self.assertTrue(entry["result"], entry)
        self.assertIn("480", self.notice("front-desk")[0]["result"])
        self.assertIn("refused", self.notice("mailbox")[0]["result"].lower())
        self.assertTrue(self.notice("manager"), "the next level is told at once")


class NoCourier(Notified):
    def test_no_courier(self):
        """without the program that sends mail a station is rung all the same, and acknowledges by key"""
        self.lab.daemon.stop()
        self.lab.daemon.arguments = (*self.lab.daemon.arguments, "--courier", "/nonexistent/courier")
        self.lab.daemon.start()
        self.call(hold=200)
        self.lab.wait_for(lambda: self.notice("mailbox")[0]["end-ms"] is not None, "mail is given up", 20)
        self.assertIn("No such file", self.notice("mailbox")[0]["result"])
        self.assertEqual(len(self.notice("front-desk")), 1)


if __name__ == "__main__":
    unittest.main(verbosity=2)
