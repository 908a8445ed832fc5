"""`make lab-emergency`: 911 at three sites over three carriers, everything that may be in its way, and how long it takes.

Prints one line per scenario: what, how it ended, its figure. Exits 1 when one failed. What the box cannot do yet says
"not built" and counts neither way. Real SIPp, real cressetd, everything inside namespaces.
"""

import argparse
import os
import sys
import time
import unittest

import all_tests
import namespaces
from lab import stop_on_signals

LONG = ("emergency_testmode", "emergency_measured")


class Table(all_tests.Result):
    """Results as lines of a table, printed as they come and once more at the end."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.rows = []

    def line(self, word, test):
        self.rows.append((test.shortDescription() or str(test) if isinstance(test, unittest.TestCase) else str(test),
                          word, getattr(test, "figure", "")))
        super().line(word, test)

    def addSkip(self, test, reason):
        unittest.TestResult.addSkip(self, test, reason)
        test.figure = reason
        self.line("not built" if reason.startswith("not built") else "not run", test)


def suite(patterns):
    here = os.path.dirname(os.path.abspath(__file__))
    names = sorted(name[:-3] for name in os.listdir(here)
                   if name.startswith(("test_emergency", "test_notif")) and name.endswith(".py"))
    loaded = unittest.TestSuite(unittest.defaultTestLoader.loadTestsFromName(name) for name in (*names, *LONG))
    if not patterns:
        return loaded
    return unittest.TestSuite(test for test in each_test(loaded) if any(pattern in test.id() for pattern in patterns))


def each_test(tests):
    for test in tests:
        if isinstance(test, unittest.TestSuite):
            yield from each_test(test)
        else:
            yield test


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("patterns", nargs="*", help="only tests with this in their name")
    options = parser.parse_args()
    reason = namespaces.missing_requirements()
    if reason:
        print(f"not run: {reason}")
        return 1 if os.geteuid() == 0 or os.environ.get("CI") else 0
    stop_on_signals()
    began = time.monotonic()
    result = unittest.TextTestRunner(stream=sys.stdout, resultclass=Table, verbosity=0).run(suite(options.patterns))
    width = max((len(row[0]) for row in result.rows), default=10)
    print(f"\n{'911':{width}}  result     figure")
    for what, word, figure in result.rows:
        print(f"{what:{width}}  {word:9}  {figure}")
    bad = len(result.failures) + len(result.errors)
    print(f"\n{time.monotonic() - began:.0f} s")
    print(f"{sum(word == 'passed' for _, word, _ in result.rows)} passed, {bad} failed, {len(result.skipped)} not run")
    return 1 if bad or not result.testsRun else 0


if __name__ == "__main__":
    sys.exit(main())
