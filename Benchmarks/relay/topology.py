"""The wire of the benchmark, all veth, 500 calls with a stream in each direction.

    phones ── p ═══ l ── box ── w ═══ c ── carrier
"""

import os
import subprocess

from machine import BOX_CORE, NICENESS
from processes import DidNotRun

CALLS = 500
PHONE, LAN, WAN, CARRIER = "192.0.2.10", "192.0.2.1", "198.51.100.1", "198.51.100.10"
PORT_MIN = 40000  # of the box; rtpengine takes its own


def run(*command, input=None):
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=30, input=input or "").stdout
    except subprocess.CalledProcessError as error:
        raise DidNotRun(f"{' '.join(command)[:80]}: {error.stderr.strip() or error.stdout.strip()}") from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise DidNotRun(str(error)) from None


class Topology:
    def __init__(self, directory):
        tag = f"{os.getpid() % 100000}"
        self.directory = directory
        self.phones, self.box, self.carrier = (f"rb{tag}-{role}" for role in ("phones", "box", "carrier"))
        self.p, self.l, self.w, self.c = (f"{letter}{tag}" for letter in "plwc")
        self.macs = {name: f"02:00:00:00:0{index}:01" for index, name in enumerate((self.p, self.l, self.w, self.c))}
        self.ends = (f"{self.phones}/{self.p}", f"{self.carrier}/{self.c}")
        self.box_ends = (f"{self.box}/{self.l}", f"{self.box}/{self.w}")
        self.own_ports = [(PORT_MIN + 2 * index,) * 2 for index in range(CALLS)]

    def __enter__(self):
        try:
            self.make()
        except BaseException:
            self.__exit__()
            raise
        return self

    def make(self):
        for namespace in (self.phones, self.box, self.carrier):
            run("ip", "netns", "add", namespace)
            run("ip", "-n", namespace, "link", "set", "lo", "up")
        for far, far_name, name, near_address, far_address in ((self.phones, self.p, self.l, LAN, PHONE),
                                                               (self.carrier, self.c, self.w, WAN, CARRIER)):
            run("ip", "-n", self.box, "link", "add", name, "address", self.macs[name], "type", "veth", "peer", "name",
                far_name, "address", self.macs[far_name], "netns", far)
            for namespace, link, other, address, other_address in (
                    (self.box, name, far_name, near_address, far_address),
                    (far, far_name, name, far_address, near_address)):
                run("ip", "netns", "exec", namespace, "sysctl", "-qw", f"net.ipv6.conf.{link}.disable_ipv6=1")
                run("ip", "-n", namespace, "addr", "add", f"{address}/24", "dev", link)
                run("ip", "-n", namespace, "link", "set", link, "up")
                run("ip", "-n", namespace, "neigh", "add", other_address, "lladdr", self.macs[other], "dev", link)
            # A veth polls its ring, as a driver does, only with XDP or GRO on.
            run("ip", "netns", "exec", self.box, "ethtool", "-K", name, "gro", "on")

    def __exit__(self, *_):
        for namespace in (self.phones, self.box, self.carrier):
            subprocess.run(["ip", "netns", "del", namespace], check=False, capture_output=True)

    def pin_receivers(self):
        """The polling threads of `l` and `w` on the box's core; made anew whenever XDP comes or goes."""
        for name in (self.l, self.w):
            run("ip", "netns", "exec", self.box, "sh", "-c", f"echo 1 > /sys/class/net/{name}/threaded")
        found = {}
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/comm") as comm:
                    text = comm.read()
                for name in (self.l, self.w):
                    if text.startswith(f"napi/{name}-"):
                        os.sched_setaffinity(int(pid), {BOX_CORE})
                        os.setpriority(os.PRIO_PROCESS, int(pid), NICENESS)
                        found[int(pid)] = name
            except (FileNotFoundError, ProcessLookupError):
                pass
        if set(found.values()) != {self.l, self.w}:
            raise DidNotRun("the interfaces have no polling threads to pin (threaded NAPI)")
        return list(found)

    def flows_file(self, name, ports):
        """Where the generator sends: `ports` is the box's port of each call towards the phones and the carrier."""
        path = f"{self.directory}/{name}"
        with open(path, "w") as file:
            for index, (lan, wan) in enumerate(ports):
                file.write(f"0 {self.macs[self.l]} {self.macs[self.p]} {PHONE} {10000 + 2 * index} {LAN} {lan}\n"
                           f"1 {self.macs[self.w]} {self.macs[self.c]} {CARRIER} {30000 + 2 * index} {WAN} {wan}\n")
        return path

    def pairs(self):
        """Each call as "our address, the phone's, our other address, the carrier's"."""
        return [f"{LAN}:{lan},{PHONE}:{10000 + 2 * index},{WAN}:{wan},{CARRIER}:{30000 + 2 * index}"
                for index, (lan, wan) in enumerate(self.own_ports)]

    def flows(self):
        """Each stream as "local, accepted source, new source, new destination", both directions."""
        for pair in self.pairs():
            lan, phone, wan, carrier = pair.split(",")
            yield f"{lan},{phone},{wan},{carrier}"
            yield f"{wan},{carrier},{lan},{phone}"
