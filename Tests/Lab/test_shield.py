"""The shield: who is blocked, who is not, what the operator says, and what a stranger hears."""

import contextlib
import re
import socket
import subprocess
import time
import unittest

from daemon import binary
from labtest import LabTest
from namespaces import CARRIERS, LAN_BOX, PHONES, STRANGER, STRANGER_LAN, WAN_BOX
from scenario import Called

SHIELD = {"shield.toml": '[shield]\nsilent = true\nblock-time = "4s"\nblock-time-max = "1m"\nscore-window = "30s"\n'}


def request(method, box, source, user="sipvicious", agent="friendly-scanner", number=1, to=""):
    return (f"{method} sip:{to}{box} SIP/2.0\r\nVia: SIP/2.0/UDP {source};rport;branch=z9hG4bK{number}{time.monotonic_ns()}\r\n"
            f"Max-Forwards: 70\r\nFrom: <sip:{user}@{box}>;tag={number}\r\nTo: <sip:{user}@{box}>\r\n"
            f"Call-ID: {number}-{time.monotonic_ns()}@{source}\r\nCSeq: 1 {method}\r\nContact: <sip:{user}@{source}>\r\n"
            f"User-Agent: {agent}\r\nContent-Length: 0\r\n\r\n").encode()


class Shield(LabTest):
    configuration = dict(registration=False, health_interval=None, extra=SHIELD)

    def setUp(self):
        super().setUp()
        listed = self.lab.daemon.ask("shield", "list")
        for entry in listed["blocks"] + listed["allowed"]:  # of an earlier test
            self.shield("unblock", entry["prefix"])

    def socket(self, namespace, address, kind=socket.SOCK_DGRAM):
        with namespace.entered():
            made = socket.socket(socket.AF_INET, kind)
        self.addCleanup(made.close)
        made.bind((address, 0))
        made.settimeout(1)
        return made

    def phone(self, address=STRANGER_LAN):
        return self.socket(self.lab.network.phones, address)

    def stranger(self, address=STRANGER):
        return self.socket(self.lab.network.carrier, address)

    def hears(self, sender, datagram, box=LAN_BOX, port=5060):
        """Whether anything comes back: an answer, or ICMP."""
        try:
            sender.sendto(datagram, (box, port))
            return sender.recv(65536)
        except TimeoutError:
            return None
        except ConnectionRefusedError:
            return "ICMP"

    def shield(self, *words, fails=False):
        done = subprocess.run([binary("cresset"), "shield", *words, "--control", self.lab.daemon.control],
                              capture_output=True, text=True, timeout=10)
        self.assertEqual(done.returncode != 0, fails, done.stderr + done.stdout)
        return done.stderr if fails else done.stdout

    def blocks(self):
        return {block["prefix"]: block for block in self.lab.daemon.ask("shield", "list")["blocks"]}

    def counter(self, name):
        return self.lab.daemon.status()["counters"][name]

    def said(self, pattern):
        self.wait_until(lambda: any(re.search(pattern, line) for line in self.lab.daemon.log), pattern)

    def wait_until(self, condition, what, seconds=5):
        deadline = time.monotonic() + seconds
        while not condition():
            self.assertLess(time.monotonic(), deadline, what)
            time.sleep(0.05)

    def test_scanner(self):
        """a scanner is blocked, hears nothing while it is, and for twice as long the second time"""
        self.assertEqual(self.lab.daemon.ask("shield", "list")["kernel-realms"], ["lan", "lan6", "wan"])
        scanner = self.phone()
        plain = request("OPTIONS", LAN_BOX, STRANGER_LAN, user="2001", agent="phone")
        self.assertIn(b"200 OK", self.hears(scanner, plain))
        for seconds in (4, 8):
            scanner.sendto(request("OPTIONS", LAN_BOX, STRANGER_LAN), (LAN_BOX, 5060))
            self.wait_until(lambda: f"{STRANGER_LAN}/32" in self.blocks(), "blocked")
            before = self.counter("shield-dropped-blocked")
            with contextlib.suppress(TimeoutError):
                while True:  # the answer to what was under way
                    scanner.recv(65536)
            self.assertIsNone(self.hears(scanner, plain))
            self.assertIsNone(self.hears(scanner, b"x", port=9))
            self.assertGreaterEqual(self.counter("shield-dropped-blocked"), before + 2)
            self.said(rf"shield: {STRANGER_LAN}/32 blocked for {seconds} s: scanner friendly-scanner")
            self.wait_until(lambda: f"{STRANGER_LAN}/32" not in self.blocks(), "over", seconds + 3)
            self.assertIn(b"200 OK", self.hears(scanner, plain))

    def test_guesser(self):
        """who tries users that do not exist is blocked; a registered phone at the same work is not"""
        guesser = self.phone()
        for number in range(100, 106):
            guesser.sendto(request("REGISTER", LAN_BOX, STRANGER_LAN, user=str(number), agent="phone"), (LAN_BOX, 5060))
        self.wait_until(lambda: f"{STRANGER_LAN}/32" in self.blocks(), "blocked")
        self.assertEqual(self.blocks()[f"{STRANGER_LAN}/32"]["reason"], "unknown users")

    def test_trunk(self):
        """a trunk that behaves like a scanner is heard all the same"""
        trunk = self.stranger(CARRIERS[0])
        for number in range(40):
            answer = self.hears(trunk, request("OPTIONS", WAN_BOX, CARRIERS[0], number=number), WAN_BOX)
            self.assertIn(b"200 OK", answer or b"nothing")
        for _ in range(30):
            trunk.sendto(b"INVITE rubbish\r\nrubbish\r\n\r\n", (WAN_BOX, 5060))
        self.said(rf"shield: {CARRIERS[0]}/32 not blocked in spite of malformed messages: trunk carrier-a is there")
        self.assertNotIn(f"{CARRIERS[0]}/32", self.blocks())

    def test_operator(self):
        """block, allow, unblock and a restart; nothing in use is cut without --force"""
        plain = request("OPTIONS", LAN_BOX, PHONES[4], user="2001", agent="phone")
        phone = self.phone(PHONES[4])
        self.assertIn(b"200 OK", self.hears(phone, plain))
        self.assertEqual(self.shield("block", f"{PHONES[4]}", "--for", "1h", "--reason", "noisy"),
                         f"{PHONES[4]}/32 blocked\n")
        self.said(rf"shield: {PHONES[4]}/32 blocked by root until .*: noisy")
        self.assertIsNone(self.hears(phone, plain))
        self.assertIn("noisy", self.shield("list"))
        # The block outlives a restart, in the kernel too.
        self.lab.daemon.stop()
        self.lab.daemon.start()
        self.assertEqual(self.blocks()[f"{PHONES[4]}/32"]["by"], "root")
        self.assertIsNone(self.hears(phone, plain))
        self.shield("unblock", PHONES[4])
        self.assertIn(b"200 OK", self.hears(phone, plain))
        self.assertIn("neither blocked nor allowed", self.shield("unblock", PHONES[4], fails=True))
        self.assertIn("would cut trunk carrier-a", self.shield("block", f"{CARRIERS[0]}/32", fails=True))
        self.assertIn("has bits beyond its length", self.shield("block", "192.0.2.1/24", fails=True))
        # An allowed scanner may scan.
        self.shield("allow", STRANGER_LAN, "--for", "1h")
        scanner = self.phone()
        for _ in range(3):
            self.assertIn(b"200 OK", self.hears(scanner, request("OPTIONS", LAN_BOX, STRANGER_LAN)))
        self.assertEqual(self.blocks(), {})
        # With --force it is done, and what it cuts is said.
        self.assertIn("this cuts trunk carrier-a", self.shield("block", CARRIERS[0], "--force"))
        trunk = self.stranger(CARRIERS[0])
        self.assertIsNone(self.hears(trunk, request("OPTIONS", WAN_BOX, CARRIERS[0], agent="carrier"), WAN_BOX))
        # A block with an end ends.
        self.shield("unblock", CARRIERS[0])
        self.shield("block", PHONES[4], "--for", "1s")
        self.wait_until(lambda: not self.blocks(), "ended")
        self.assertIn(b"200 OK", self.hears(phone, plain))

    def test_call(self):
        """a phone in a call may do what it likes and is not blocked; the operator is told of the call"""
        carrier = self.lab.carrier(Called(), digest=False)
        self.addCleanup(carrier.kill)  # a call for help of the next test would reach it, and nobody there hangs up
        caller = self.lab.from_station(self.lab.caller(hold=2500), calls=1, timeout=20)
        self.wait_until(lambda: any(call["state"] == "answered" for call in self.lab.daemon.calls()["calls"]), "a call")
        phone = self.phone(PHONES[0])
        for number in range(20):
            phone.sendto(request("REGISTER", LAN_BOX, PHONES[0], user=str(number)), (LAN_BOX, 5060))
        refusal = self.shield("block", PHONES[0], fails=True)
        self.assertRegex(refusal, r"this would cut call \S+; repeat it with --force")
        self.assert_good(caller)
        self.assertEqual(self.blocks(), {})

    def test_help(self):
        """a blocked phone that calls 911 is heard, and hears nothing before"""
        self.shield("block", PHONES[5])
        phone = self.phone(PHONES[5])
        self.assertIsNone(self.hears(phone, request("INVITE", LAN_BOX, PHONES[5], user="2001", agent="phone")))
        answer = self.hears(phone, request("INVITE", LAN_BOX, PHONES[5], user="2001", agent="phone", to="911@"))
        self.assertTrue((answer or b"nothing").startswith(b"SIP/2.0 100"), answer)
        # What follows in that call is heard, too, although the block stands.
        self.assertIn(f"{PHONES[5]}/32", self.blocks())
        self.assertIn(b"200 OK", self.await_answer(phone, request("OPTIONS", LAN_BOX, PHONES[5], agent="phone"), b"OPTIONS"))

    def await_answer(self, sender, datagram, method):
        """The final answer to a request of this method; what comes before it is of other requests."""
        sender.settimeout(5)
        sender.sendto(datagram, (LAN_BOX, 5060))
        while True:
            answer = sender.recv(65536)
            if b"CSeq: 1 " + method in answer:
                return answer

    def test_silence(self):
        """ports without a socket answer neither by ICMP nor by reset"""
        for sender, box in ((self.phone(), LAN_BOX), (self.stranger(), WAN_BOX)):
            with self.subTest(box):
                sender.settimeout(0.3)
                sender.connect((box, 9))
                for port in (7, 5061, 19999, 40000):
                    sender.connect((box, port))
                    sender.send(b"hello")
                    with self.assertRaises(TimeoutError):
                        sender.recv(100)
        for port in (22, 5061, 20000):
            scanner = self.socket(self.lab.network.phones, STRANGER_LAN, socket.SOCK_STREAM)
            scanner.settimeout(0.3)
            with self.assertRaises(TimeoutError):
                scanner.connect((LAN_BOX, port))
        self.assertGreater(self.counter("shield-dropped-closed-port"), 10)
        # The SIP port itself is open.
        scanner = self.socket(self.lab.network.phones, STRANGER_LAN, socket.SOCK_STREAM)
        scanner.connect((LAN_BOX, 5060))

    def test_rubbish(self):
        """what is no SIP never reaches the daemon"""
        sender = self.phone()
        before = self.counter("shield-dropped-not-sip")
        for rubbish in (b"\x16\x03\x01" + bytes(60), b"\x80\x00" + bytes(30), b"short"):
            self.assertIsNone(self.hears(sender, rubbish), rubbish)
            before += 1
            self.assertEqual(self.counter("shield-dropped-not-sip"), before, rubbish)
        self.assertEqual(self.counter("sip-messages-malformed"), 0)


class ShieldWithoutKernel(Shield):
    """The same where no program can be attached: cressetd stands in front of itself."""
    configuration = dict(datapath="off", registration=False, health_interval=None, extra=SHIELD)

    def test_scanner(self):
        """a scanner is blocked and hears nothing while it is"""
        self.assertEqual(self.lab.daemon.ask("shield", "list")["kernel-realms"], [])
        scanner = self.phone()
        plain = request("OPTIONS", LAN_BOX, STRANGER_LAN, user="2001", agent="phone")
        self.assertIn(b"200 OK", self.hears(scanner, plain))
        scanner.sendto(request("OPTIONS", LAN_BOX, STRANGER_LAN), (LAN_BOX, 5060))
        self.wait_until(lambda: f"{STRANGER_LAN}/32" in self.blocks(), "blocked")
        with contextlib.suppress(TimeoutError):
            while True:
                scanner.recv(65536)
        self.assertIsNone(self.hears(scanner, plain))
        self.assertGreaterEqual(self.counter("shield-socket-blocked"), 1)
        self.wait_until(lambda: f"{STRANGER_LAN}/32" not in self.blocks(), "over")
        self.assertIn(b"200 OK", self.hears(scanner, plain))

    test_silence = None  # the stack answers
    test_rubbish = None  # the parser refuses


if __name__ == "__main__":
    unittest.main()
