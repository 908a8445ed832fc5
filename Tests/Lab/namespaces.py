"""The network of the lab: three namespaces on one machine.

    phones ── lan ═══ lan0 ── box ── wan0 ═══ wan ── carrier
    192.168.50.0/24, 2001:db8:50::/64     203.0.113.0/24, 2001:db8:113::/64

Names carry a prefix and our process id, so two labs never meet. Every namespace made here is removed here.
"""

import contextlib
import ctypes
import glob
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time

LAN_BOX, LAN_BOX6 = "192.168.50.1", "2001:db8:50::1"
WAN_BOX, WAN_BOX6 = "203.0.113.1", "2001:db8:113::1"
PHONES = [f"192.168.50.{host}" for host in range(101, 111)]
PHONES6 = [f"2001:db8:50::{host}" for host in range(101, 104)]
CARRIERS = ["203.0.113.10", "203.0.113.11", "203.0.113.12"]
STRANGER = "203.0.113.66"  # on the carrier's wire, but no trunk
STRANGER_LAN = "192.168.50.66"

CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)
_counter = iter(range(1 << 30))
_counter_lock = threading.Lock()


def run(*command, check=True, **options):
    """Runs a short command and returns its standard output; its error text is in the exception."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, **options)
    if check and done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: exit {done.returncode}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


class Namespace:
    """One network namespace; commands and sockets can be put into it."""

    def __init__(self, name):
        self.name = name
        run("ip", "netns", "add", name)
        self.ip("link", "set", "lo", "up")

    def ip(self, *arguments, check=True):
        return run("ip", "-n", self.name, *arguments, check=check)

    def run(self, *command, check=True, **options):
        return run("ip", "netns", "exec", self.name, *command, check=check, **options)

    def start(self, *command, **options):
        """Starts a long-lived process in the namespace. `ip netns exec` becomes the command: the pid is its own."""
        options.setdefault("stdin", subprocess.DEVNULL)
        return subprocess.Popen(["ip", "netns", "exec", self.name, *map(str, command)], **options)

    @contextlib.contextmanager
    def entered(self):
        """Sockets made by this thread inside the block belong to the namespace, and stay there."""
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        there = os.open(f"/run/netns/{self.name}", os.O_RDONLY)
        try:
            if _libc.setns(there, CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "setns")
            yield self
        finally:
            if _libc.setns(home, CLONE_NEWNET) != 0:
                os.abort()  # a thread lost in a namespace would act on the wrong network
            os.close(there)
            os.close(home)

    def processes(self):
        return [int(pid) for pid in run("ip", "netns", "pids", self.name, check=False).split()]

    def remove(self):
        # Only processes of this namespace, which is ours alone.
        for number in (signal.SIGTERM, signal.SIGKILL):
            for pid in self.processes():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
            deadline = time.monotonic() + 2
            while self.processes() and time.monotonic() < deadline:
                time.sleep(0.02)
        run("ip", "netns", "del", self.name, check=False)


def sweep():
    """Removes what a lab that was killed (SIGKILL, power) could not remove: its process is gone, its names tell."""
    for line in run("ip", "netns", check=False).splitlines():
        found = re.match(r"cl(\d+)x\d+-(phones|box|carrier|injector)\b", line)
        if found and not os.path.exists(f"/proc/{found.group(1)}"):
            name = line.split()[0]
            for pid in run("ip", "netns", "pids", name, check=False).split():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
            run("ip", "netns", "del", name, check=False)
    for path in glob.glob(os.path.join(tempfile.gettempdir(), "cresset-lab-*-*")):
        owner = os.path.basename(path).split("-")[2]
        if owner.isdigit() and not os.path.exists(f"/proc/{owner}") and not os.path.exists(os.path.join(path, "keep")):
            shutil.rmtree(path, ignore_errors=True)


class Network:
    """Phones, box and carrier, wired. `offload` leaves UDP checksums to the (virtual) NIC as real hosts do."""

    def __init__(self, offload=True, mtu=1500):
        with _counter_lock:
            self.prefix = f"cl{os.getpid()}x{next(_counter)}"
        self._made = []
        sweep()
        try:
            self.phones = self._namespace("phones")
            self.box = self._namespace("box")
            self.carrier = self._namespace("carrier")
            self._wire(self.phones, "lan", "lan0", offload, mtu)
            self._wire(self.carrier, "wan", "wan0", offload, mtu)
            self._address(self.box, "lan0", [f"{LAN_BOX}/24"], [f"{LAN_BOX6}/64"])
            self._address(self.box, "wan0", [f"{WAN_BOX}/24"], [f"{WAN_BOX6}/64"])
            self._address(self.phones, "lan", [f"{address}/24" for address in PHONES + [STRANGER_LAN]],
                          [f"{address}/64" for address in PHONES6])
            self._address(self.carrier, "wan", [f"{address}/24" for address in CARRIERS + [STRANGER]],
                          ["2001:db8:113::10/64"])
            # The box is a voice edge, not a router: what it does not relay itself must not get through.
            self.box.run("sysctl", "-qw", "net.ipv4.ip_forward=0")
        except BaseException:
            self.remove()
            raise

    def _namespace(self, role):
        namespace = Namespace(f"{self.prefix}-{role}")
        self._made.append(namespace)
        return namespace

    def _wire(self, far, far_name, box_name, offload, mtu):
        far.ip("link", "add", far_name, "mtu", str(mtu), "type", "veth",
               "peer", "name", box_name, "mtu", str(mtu), "netns", self.box.name)
        # Redirected frames reach a veth only when its peer polls (an XDP program or GRO there).
        far.run("ethtool", "-K", far_name, "gro", "on", check=False)
        self.box.run("ethtool", "-K", box_name, "gro", "on", check=False)
        if not offload:
            far.run("ethtool", "-K", far_name, "tx", "off")
            self.box.run("ethtool", "-K", box_name, "tx", "off")
        far.ip("link", "set", far_name, "up")
        self.box.ip("link", "set", box_name, "up")

    @staticmethod
    def _address(namespace, link, addresses, addresses6):
        for address in addresses:
            namespace.ip("addr", "add", address, "dev", link)
        for address in addresses6:
            namespace.ip("addr", "add", address, "dev", link, "nodad")

    def add_injector(self):
        """A third namespace that reaches the box through both wires, and that the box could answer: phones and carrier
        route for it. Returns the namespace and (side, its address, its interface) of both ways."""
        injector = self._namespace("injector")
        ways = []
        for number, (side, near, near_link, gateway, box) in enumerate((
                ("lan", self.phones, "lan", PHONES[0], LAN_BOX), ("wan", self.carrier, "wan", CARRIERS[0], WAN_BOX))):
            ours, theirs = f"10.66.{number}.2", f"10.66.{number}.1"
            near.ip("link", "add", "guest", "type", "veth", "peer", "name", side, "netns", injector.name)
            for namespace, link, address in ((near, "guest", theirs), (injector, side, ours)):
                namespace.ip("addr", "add", f"{address}/24", "dev", link)
                namespace.ip("link", "set", link, "up")
            near.run("sysctl", "-qw", "net.ipv4.ip_forward=1", f"net.ipv4.conf.{near_link}.send_redirects=0")
            injector.ip("route", "add", f"{box}/32", "via", theirs)
            self.box.ip("route", "add", f"10.66.{number}.0/24", "via", gateway)
            ways.append((side, ours, side))
        return injector, ways

    def route_directly(self):
        """Makes the box a plain router, to measure the path without it."""
        self.box.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
        self.phones.ip("route", "add", "default", "via", LAN_BOX)
        self.carrier.ip("route", "add", "default", "via", WAN_BOX)

    def remove(self):
        for namespace in reversed(self._made):
            namespace.remove()
        self._made = []


def missing_requirements(tools=("ip", "ethtool", "sipp", "tcpdump", "tshark")):
    """Why the lab cannot run here, or None."""
    if os.geteuid() != 0:
        return "needs root: namespaces and BPF programs (run it with sudo)"
    absent = [tool for tool in tools if not shutil.which(tool)]
    return f"missing: {', '.join(absent)} (run `sudo make deps`)" if absent else None
