"""The proof of a 911 call: kept on the disk, closed honestly after a crash, and never in the way of the call."""

import datetime
import glob
import json
import os
import subprocess
import unittest

from daemon import binary
from labtest import LabTest
from scenario import Called, Caller



class Records(LabTest):
    configuration = dict(health_interval=None, attempt_timeout="1s",
                         extra={"emergency.toml": '[emergency]\ntrunks = ["carrier-a"]\nattempt-timeout = "1s"\n'})

    def lines(self):
        found = []
        for path in sorted(glob.glob(os.path.join(self.lab.daemon.state, "emergency", "emergency-*.jsonl"))):
            self.assertEqual(os.stat(path).st_mode & 0o777, 0o600, path)
            with open(path) as file:
                found += [json.loads(line) for line in file]
        return found

    def records(self):
        """The last line of each record, oldest first."""
        return list({line["record"]["id"]: line["record"] for line in self.lines()}.values())

    def command(self, *words):
        """A command that reads the files: exit status and what it printed."""
        done = subprocess.run([binary("cresset"), *words, "--state", self.lab.daemon.state],
                              capture_output=True, text=True, timeout=20)
        return done.returncode, done.stdout + done.stderr

    def call(self, hold=300, carrier=0, audio=None, number="911"):
        endpoint = self.lab.carrier(Called(audio=audio), which=carrier)
        self.assert_good(self.lab.from_station(Caller("2001", number, hold=hold, audio=audio), calls=1, timeout=30))
        self.assert_served(endpoint)
        endpoint.kill()

    def wait_for_records(self, count, what):
        self.lab.wait_for(lambda: len([each for each in self.records() if each["state"] != "open"]) >= count, what, 10)
        return self.records()

    def test_a_record(self):
        """a call over the second carrier leaves a record of both attempts; list, show, report and the chain agree"""
        before = len(self.records())
        self.call(hold=1000, carrier=1, audio=self.lab.noise(1000), number="9911")
        record = self.wait_for_records(before + 1, "the call is on record")[-1]
        self.assertEqual((record["number"], record["dialled"], record["state"]), ("911", "9911", "ended"))
        self.assertEqual([each["trunk"] for each in record["attempts"]], ["carrier-a", "carrier-b"])
        self.assertEqual(record["attempts"][1]["outcome"], "200")
        self.assertNotIn(record["attempts"][0]["outcome"], ("200", None))
        self.assertLess(record["invite-out-us"], 50_000)
        self.assertGreater(record["answer-ms"], record["ringing-ms"])
        self.assertGreaterEqual(record["packets"]["from-caller"], 45)
        self.assertGreaterEqual(record["packets"]["from-called"], 45)
        started = datetime.datetime.fromisoformat(record["start"])
        self.assertLess(abs((datetime.datetime.now(datetime.timezone.utc) - started).total_seconds()), 120)

        status, text = self.command("emergency", "verify-log")
        self.assertEqual(status, 0, text)
        status, text = self.command("emergency", "show", record["id"][:8])
        self.assertEqual(status, 0, text)
        self.assertIn("carrier-b", text)
        month = record["start"][:7]
        status, text = self.command("report", "emergency", "--month", month, "--format", "json")
        self.assertEqual(status, 0, text)
        report = json.loads(text)
        self.assertEqual(report["failovers"], 1, text)
        self.assertEqual(report["trunks"]["carrier-a"]["answered"], 0, text)
        for words, said in ((("--month", "2026-13"), "2026-13"), (("--month", "1999-01"), "no records of 1999-01"),
                            (("--month", month, "--site", "moon"), "moon")):
            status, text = self.command("report", "emergency", *words)
            self.assertNotEqual(status, 0, text)
            self.assertIn(said, text)

    def test_b_killed(self):
        """SIGKILL while somebody speaks with 911: the record is closed at the next start, with what is known"""
        carrier = self.lab.carrier(Called())
        caller = self.lab.from_station(Caller("2001", "911", hold=20000), calls=1, timeout=30)
        self.lab.wait_for(lambda: any(call["state"] == "answered" for call in self.lab.daemon.calls()["calls"]),
                          "the call is up")
        self.lab.wait_for(lambda: self.records()[-1]["answer-ms"] is not None, "the answer is on record")
        self.lab.daemon.kill()
        caller.kill()
        carrier.kill()
        with open(sorted(glob.glob(os.path.join(self.lab.daemon.state, "emergency", "*.jsonl")))[-1], "a") as file:
            file.write('{"seq":99,"torn')  # as the power going away in the middle of a line
        self.lab.daemon.start()
        self.lab.wait_for(lambda: self.records()[-1]["state"] == "interrupted", "the record is closed")
        last = self.records()[-1]
        self.assertIn("cressetd stopped at or after", last["ending"])
        self.assertIn("last seen answered", last["ending"])
        self.assertIsNone(last["end"])
        self.assertIsNotNone(last["last-seen"])
        status, text = self.command("emergency", "verify-log")
        self.assertEqual(status, 0, text)
        self.assertTrue(any("unfinished line cut off" in line for line in self.lab.daemon.log), self.box_log())


SITES = """[emergency]
attempt-timeout = "1s"

[emergency.proof]
every = "24h"
at = "03:10"
listen = "2s"

[sites.office]
networks = ["192.168.50.0/24"]
trunks = ["carrier-a", "carrier-b"]
elins = ["+13135550190"]

[sites.office.address]
house-number = "1"
street = "Example Street"
floor = "3"
city = "Detroit"
state = "MI"
postal-code = "48201"
"""


class Proof(Records):
    """933 calls the box places itself."""
    configuration = dict(health_interval=None, extra={"emergency.toml": SITES})
    test_a_record = test_b_killed = None

    def test_proved(self):
        """one carrier answers and speaks, the other is dead: prove, the status, the report and verify say so"""
        carrier = self.lab.carrier(Called(audio=self.lab.noise(4000)), which=0)
        done = subprocess.run([binary("cresset"), "emergency", "prove", "--json", "--control", self.lab.daemon.control],
                              capture_output=True, text=True, timeout=90)
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        good, bad = json.loads(done.stdout)
        self.assertEqual((good["site"], good["trunk"], good["good"]), ("office", "carrier-a", True), done.stdout)
        self.assertGreater(good["packets"], 50)
        self.assertEqual((bad["trunk"], bad["good"], bad["packets"]), ("carrier-b", False, 0), done.stdout)
        self.assert_served(carrier)
        carrier.kill()

        records = [record for record in self.wait_for_records(2, "both are on record") if record["proof"]]
        self.assertEqual([record["number"] for record in records], ["933", "933"])
        self.assertEqual(records[0]["ending"], "hung up by the box")
        self.assertEqual((records[0]["site"], records[0]["elin"]), ("office", "+13135550190"))
        self.assertEqual(records[0]["location"]["missing"], [])
        self.assertTrue(any("office over carrier-b" in alarm for alarm in self.lab.daemon.status()["alarms"]))
        status, text = self.command("report", "emergency", "--month", records[0]["start"][:7])
        self.assertEqual(status, 0, text)
        self.assertRegex(text, r"office over carrier-a +1 +1 ")
        self.assertRegex(text, r"office over carrier-b +1 +0 ")
        done = subprocess.run([binary("cresset"), "emergency", "verify", "--json", "--state", self.lab.daemon.state,
                               "--control", self.lab.daemon.control], capture_output=True, text=True, timeout=20)
        points = {point["title"]: point for point in json.loads(done.stdout)["points"]}
        proof = points["a test call (933) was heard in the last 48 hours"]
        self.assertEqual((proof["state"], proof["detail"]), ("pass", "at office"))
        self.assertEqual(points["every station has a dispatchable location"]["state"], "pass")
        self.assertEqual(points["somebody is told of every 911 call"]["state"], "missing")
        self.assertEqual(done.returncode, 1)
        for words, said in ((("--site", "moon"), "moon"), (("--trunk", "none"), "none")):
            done = subprocess.run([binary("cresset"), "emergency", "prove", *words, "--control", self.lab.daemon.control],
                                  capture_output=True, text=True, timeout=20)
            self.assertNotEqual(done.returncode, 0)
            self.assertIn(said, done.stderr)


class FullDisk(Records):
    """The state directory on a file system of 3 MB."""
    test_a_record = test_b_killed = None

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        state = cls.lab.daemon.state
        cls.lab.daemon.stop()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", state], check=True)
        cls.addClassCleanup(subprocess.run, ["umount", "-l", state], check=False)
        cls.lab.daemon.start()

    def alarms(self):
        return self.lab.daemon.status()["alarms"]

    def fill(self, name):
        with open(os.path.join(self.lab.daemon.state, name), "wb", buffering=0) as file:
            try:
                while file.write(bytes(4096)):
                    pass
            except OSError:
                pass

    def test_full(self):
        """the disk is full: 911 is answered as ever; the record takes the space kept for it, then memory, then the disk"""
        self.call()
        self.wait_for_records(1, "the first call is on record")
        self.assertEqual(self.alarms(), [])
        self.fill("filler")
        self.call()
        records = self.wait_for_records(2, "the second call took the reserve")
        self.assertEqual(records[1]["attempts"][0]["outcome"], "200")
        self.assertTrue(any("kept free" in alarm for alarm in self.alarms()), self.alarms())

        self.fill("filler-of-the-reserve")
        self.call()
        self.lab.wait_for(lambda: any("No space left" in alarm for alarm in self.alarms()), "the alarm is raised", 10)
        self.assertIn("ALARM", self.lab.daemon.text("status"))
        self.assertEqual(len([each for each in self.records() if each["state"] == "ended"]), 2)

        os.remove(os.path.join(self.lab.daemon.state, "filler"))
        os.remove(os.path.join(self.lab.daemon.state, "filler-of-the-reserve"))
        records = self.wait_for_records(3, "the third call is written late")
        self.assertEqual(records[2]["state"], "ended")
        self.lab.wait_for(lambda: self.alarms() == [], "the alarm is gone", 10)
        status, text = self.command("emergency", "verify-log")
        self.assertEqual(status, 0, text)


if __name__ == "__main__":
    unittest.main(verbosity=2)
