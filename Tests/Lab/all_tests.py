"""`make test`: builds, runs the unit tests and the lab scenarios, and counts honestly.

The last line is always "N passed, N failed". What cannot run counts as failed when CI is set, and is named otherwise.
"""

import os
import subprocess
import sys
import tempfile
import time
import unittest
import xml.etree.ElementTree

import namespaces
from daemon import REPOSITORY

HERE = os.path.dirname(os.path.abspath(__file__))
SWIFT = os.environ.get("SWIFT") or "swift"
CI = bool(os.environ.get("CI"))


def stage(title):
    print(f"\n== {title}", flush=True)


def swift(*arguments):
    print("$ swift", " ".join(arguments), flush=True)
    return subprocess.call([SWIFT, *arguments], cwd=REPOSITORY, stdin=subprocess.DEVNULL)


def unit_tests():
    """(passed, failed) of `swift test`, from its report; without a report, something died: one failure more."""
    with tempfile.TemporaryDirectory() as directory:
        report = os.path.join(directory, "report.xml")
        status = swift("test", "--skip-build", "--xunit-output", report)
        passed = failed = 0
        for name in os.listdir(directory):  # Swift Testing and XCTest write a file each
            for suite in xml.etree.ElementTree.parse(os.path.join(directory, name)).getroot().iter("testsuite"):
                bad = int(suite.get("failures", 0)) + int(suite.get("errors", 0))
                passed += int(suite.get("tests", 0)) - bad - int(suite.get("skipped", 0) or 0)
                failed += bad
    if status != 0 and failed == 0:
        print(f"swift test ended with {status} although no test failed: counted as a failure")
        failed = 1
    if passed + failed == 0:
        print("swift test ran no test: counted as a failure")
        failed = 1
    return passed, failed


class Result(unittest.TextTestResult):
    """One line per scenario: how it went, how long it took, what it is."""

    def startTest(self, test):
        self.began = time.monotonic()
        unittest.TestResult.startTest(self, test)

    def line(self, word, test):
        text = test.shortDescription() or str(test) if hasattr(test, "shortDescription") else str(test)
        self.stream.writeln(f"{word:7} {time.monotonic() - getattr(self, 'began', time.monotonic()):5.1f} s  {text}")
        self.stream.flush()

    def addSuccess(self, test):
        unittest.TestResult.addSuccess(self, test)
        self.line("passed", test)

    def addFailure(self, test, error):
        unittest.TestResult.addFailure(self, test, error)
        self.line("FAILED", test)

    def addError(self, test, error):
        unittest.TestResult.addError(self, test, error)
        self.line("FAILED", test)

    def addSkip(self, test, reason):
        unittest.TestResult.addSkip(self, test, reason)
        self.line("skipped", test)
        self.stream.writeln(f"         {reason}")


def lab_tests(pattern="test_*.py"):
    """(passed, failed, skipped) of the scenarios in namespaces."""
    reason = namespaces.missing_requirements()
    if reason:
        print(f"lab scenarios not run: {reason}")
        return 0, 1 if CI else 0, 0 if CI else 1
    suite = unittest.defaultTestLoader.discover(HERE, pattern=pattern, top_level_dir=HERE)
    result = unittest.TextTestRunner(stream=sys.stdout, resultclass=Result, verbosity=0).run(suite)
    bad = len(result.failures) + len(result.errors)
    skipped = len(result.skipped)
    return result.testsRun - bad - skipped, bad + (skipped if CI else 0), 0 if CI else skipped


def main():
    began = time.monotonic()
    passed = failed = skipped = 0
    stage("build")
    if swift("build", "--build-tests") != 0:
        print("\nthe build failed\n0 passed, 1 failed")
        return 1
    stage("unit tests")
    counts = unit_tests()
    print(f"unit tests: {counts[0]} passed, {counts[1]} failed")
    passed, failed = passed + counts[0], failed + counts[1]
    stage("lab")
    counts = lab_tests()
    print(f"lab: {counts[0]} passed, {counts[1]} failed" + (f", {counts[2]} not run" if counts[2] else ""))
    passed, failed, skipped = passed + counts[0], failed + counts[1], skipped + counts[2]
    print(f"\n{time.monotonic() - began:.0f} s" + (f"; {skipped} not run, see above" if skipped else ""))
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
