"""People are told of a 911 call: mail over TLS, signed webhooks, announcement calls; behind the INVITE and never instead of it."""

import hashlib
import hmac
import json
import os
import subprocess
import sys
import tempfile
import time
import unittest

from labtest import LabTest
from namespaces import PHONES
from scenario import Called, Caller

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
