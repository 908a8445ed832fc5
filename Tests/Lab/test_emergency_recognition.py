"""What is a call for help, and what only looks like one."""

import os
import unittest

from daemon import DOMAIN
from emergency import EmergencyTest, invites
from namespaces import WAN_BOX
from scenario import Caller

HELP = ["911", "9911", "9-911", "*911", "1911", "12911", "112", "+911"]
URNS = ["urn:service:sos", "urn:service:sos.fire"]
ORDINARY = ["5550911", "3911", "91911", "9110", "8911", "2911", "113", "0911", "99911", "20911", "#911"]


class Recognition(EmergencyTest):
    calls_max = 1

    def dial(self, uris, caller, address, **options):
        """Each of `uris` once, from one phone, one after the other."""
        path = os.path.join(self.lab.directory, self.lab._unique("numbers") + ".csv")
        with open(path, "w") as file:
            file.write("SEQUENTIAL\n" + "".join(uri.replace("#", "%23") + "\n" for uri in uris))
        steps = caller.call() if options.pop("answered", True) else caller.rejected(403, 404, 407, 484)
        steps = [text.replace("sip:NUMBER@" + DOMAIN, "[field0]") for text in flatten(steps)]
        return self.place(steps, address, calls=len(uris), limit=1, rate=20, options=["-inf", path], **options)

    def test_help(self):
        """911 in every form, from a phone that never registered"""
        self.answering(0)
        watched = self.watch_box()
        uris = [f"sip:{number}@{DOMAIN}" for number in HELP] + URNS
        self.dial(uris, Caller("8888", "NUMBER", DOMAIN, hold=20), self.lab.phone("2003"))
        _, wan = self.stop(watched)
        self.assertEqual([each.user for each in invites(wan, source=WAN_BOX)], ["911"] * len(uris))
        self.figure = f"{' '.join(HELP + URNS)}: all became 911"

    def test_proof(self):
        """933 and urn:service:test.sos, from a station"""
        self.answering(0)
        self.lab.register("2001", port=6001)
        watched = self.watch_box()
        uris = [f"sip:933@{DOMAIN}", f"sip:9933@{DOMAIN}", "urn:service:test.sos"]
        self.dial(uris, Caller("2001", "NUMBER", DOMAIN, hold=20), self.lab.phone("2001"), port=6001)
        _, wan = self.stop(watched)
        self.assertEqual([each.user for each in invites(wan, source=WAN_BOX)], ["933"] * len(uris))
        self.figure = "933 9933 urn:service:test.sos: all became 933"

    def test_ordinary(self):
        """numbers that only look like it are no emergency"""
        self.answering(0)
        self.lab.register("2001", port=6001)
        watched = self.watch_box()
        uris = [f"sip:{number}@{DOMAIN}" for number in ORDINARY]
        self.dial(uris, Caller("2001", "NUMBER", DOMAIN), self.lab.phone("2001"), port=6001, answered=False)
        self.place(Caller("2001", "95550911", DOMAIN, hold=20), self.lab.phone("2001"), port=6001)
        _, wan = self.stop(watched)
        # The last one the dial plan sends out, as any other.
        self.assertEqual([each.user for each in invites(wan, source=WAN_BOX)], ["+13135550911"])
        self.assertFalse([line for line in self.lab.daemon.log[self.log_mark:] if "EMERGENCY CALL" in line])
        self.figure = f"{' '.join(ORDINARY)} 95550911: none taken for 911"


def flatten(items):
    for item in items:
        if isinstance(item, (list, tuple)):
            yield from flatten(item)
        elif item:
            yield item


if __name__ == "__main__":
    unittest.main(verbosity=2)
