"""Parse time per message: ours beside libosip2 and sofia-sip, rounds interleaved, medians."""

import os
import statistics
import subprocess
import sys

ROUNDS, COUNT = 7, 20000
HERE = os.path.dirname(os.path.abspath(__file__))


def main():
    build = sys.argv[1]
    programs = {"Cresset": os.path.join(build, "release", "parse-benchmark"),
                "libosip2": os.path.join(build, "parse_osip"), "sofia-sip": os.path.join(build, "parse_sofia")}
    print(f"{'parse, ns per message (median of ' + str(ROUNDS) + ')':44}" + "".join(f"{name:>12}" for name in programs)
          + "   ratio to osip, sofia")
    for name, title in (("invite", "INVITE"), ("invite-sdp", "INVITE with SDP, both parsed")):
        path = os.path.join(HERE, "messages", name + ".sip")
        times = {each: [] for each in programs}
        for _ in range(ROUNDS):
            for each, program in programs.items():
                times[each].append(float(subprocess.check_output([program, path, str(COUNT)])))
        median = {each: statistics.median(values) for each, values in times.items()}
        print(f"{title + f', {os.path.getsize(path)} bytes':44}" + "".join(f"{median[each]:12.0f}" for each in programs)
              + f"   {median['Cresset'] / median['libosip2']:.2f}, {median['Cresset'] / median['sofia-sip']:.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
