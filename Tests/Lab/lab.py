"""The lab: network, box, carriers and phones put together, and taken apart again whatever happens."""

import contextlib
import os
import shutil
import signal
import sys
import tempfile
import threading
import time

import capture
import daemon
import scenario
from daemon import DOMAIN, PASSWORD, TRUNK_PASSWORD, TRUNK_USER
from namespaces import CARRIERS, LAN_BOX, LAN_BOX6, Network, PHONES, PHONES6, WAN_BOX
from sipp import SIPp

_started = time.monotonic()


def say(text):
    print(f"{time.monotonic() - _started:8.2f}  {text}", flush=True)


def stop_on_signals():
    """SIGTERM and SIGHUP end the lab as Ctrl-C does, also in the background: through every `finally`."""
    def interrupt(number, frame):
        raise KeyboardInterrupt
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)


class Lab:
    """Use with `with`. Without a box (`box=False`) the middle is a plain router; with `start=False` the box waits for
    `start_box()`, so that carriers may be there first."""

    def __init__(self, box=True, offload=True, mtu=1500, box_log=None, start=True, arguments=(),
                 **configuration):
        self.box_log, self.start_at_once, self.arguments = box_log, start, arguments
        self.with_box, self.offload, self.mtu = box, offload, mtu
        self.files = daemon.configuration(**configuration)
        self.directory = self.network = self.daemon = None
        self.endpoints, self.captures = [], []
        self._ports = iter(range(7000, 17000, 2))
        self._media = iter(range(17000, 64000, 40))
        self._names = {}

    def __enter__(self):
        self.directory = tempfile.mkdtemp(prefix=f"cresset-lab-{os.getpid()}-")
        try:
            self.network = Network(offload=self.offload, mtu=self.mtu)
            if self.with_box:
                self.daemon = daemon.Daemon(self.network.box, self.directory, self.files, self.box_log,
                                            self.arguments)
                if self.start_at_once:
                    self.start_box()
            else:
                self.network.route_directly()
        except BaseException:
            self.__exit__(*sys.exc_info())
            raise
        return self

    def start_box(self):
        self.daemon.start()

    def __exit__(self, kind, value, traceback):
        # A second Ctrl-C must not leave half of the lab behind.
        previous = [(number, signal.signal(number, signal.SIG_IGN)) for number in (signal.SIGINT, signal.SIGTERM)] \
            if _main_thread() else []
        try:
            for endpoint in self.endpoints:
                endpoint.kill()
            for running in self.captures:
                running.kill()
            if self.daemon:
                self.exit_status = self.daemon.stop()
            if self.network:
                self.network.remove()
            keep = os.environ.get("CRESSET_LAB_KEEP")
            if self.directory and not keep:
                shutil.rmtree(self.directory, ignore_errors=True)
            elif self.directory:
                open(os.path.join(self.directory, "keep"), "w").close()
                print(f"kept: {self.directory}", file=sys.stderr)
        finally:
            for number, handler in previous:
                signal.signal(number, handler)

    # Endpoints ----------------------------------------------------------------------------------------------------

    def _unique(self, name):
        self._names[name] = self._names.get(name, 0) + 1
        return name if self._names[name] == 1 else f"{name}-{self._names[name]}"

    def endpoint(self, namespace, name, steps, local, port=None, remote=None, **options):
        options.setdefault("media_port", next(self._media))
        endpoint = SIPp(self.directory, namespace, self._unique(name), steps, local, port or next(self._ports),
                        remote, **options)
        self.endpoints.append(endpoint)
        return endpoint

    def carrier(self, called, which=0, name=None, digest=True, port=5060, transport="u1", **options):
        """A carrier that answers REGISTER, OPTIONS and calls; `called` is a Called or ready steps."""
        steps = called.call_or_cancel() if isinstance(called, scenario.Called) else called
        credentials = (TRUNK_USER, TRUNK_PASSWORD) if digest and which == 0 else ()
        endpoint = self.endpoint(self.network.carrier, name or f"carrier-{'abc'[which]}",
                                 scenario.as_carrier(steps, *credentials), CARRIERS[which], port,
                                 timeout=None, transport=transport, **options)
        if not endpoint.wait_listening():
            raise RuntimeError(f"{endpoint.name} does not listen: {endpoint.errors()}")
        return endpoint

    def phone(self, user):
        """Address of a station's phone."""
        return PHONES6[0] if user == "2006" else PHONES[int(user) - 2001]

    def box_for(self, user):
        return f"[{LAN_BOX6}]:5060" if user == "2006" else f"{LAN_BOX}:5060"

    def register(self, user, port=5060, transport="u1", password=None, check=True, expires=3600):
        """The station registers from the port where it will listen."""
        address = self.phone(user)
        host = f"[{address}]" if ":" in address else address
        contact = f"sip:{user}@{host}:{port}" + (";transport=tcp" if transport.startswith("t") else "")
        endpoint = self.endpoint(
            self.network.phones, f"register-{user}",
            scenario.register(user, password or PASSWORD.format(user), DOMAIN, contact, expires), address,
            port if transport == "u1" else None, self.box_for(user), calls=1, timeout=10, transport=transport)
        status = endpoint.wait()
        if check and status != 0:
            raise RuntimeError(f"station {user} cannot register:\n{endpoint.errors()}")
        return status == 0

    def station(self, user, called, port=5060, transport="u1", **options):
        """A registered phone that takes calls."""
        steps = called.call_or_cancel() + [scenario.linger()] if isinstance(called, scenario.Called) else called
        endpoint = self.endpoint(self.network.phones, f"station-{user}", steps, self.phone(user), port,
                                 timeout=None, transport=transport, **options)
        if not endpoint.wait_listening():
            raise RuntimeError(f"{endpoint.name} does not listen: {endpoint.errors()}")
        return endpoint

    def tcp_phone(self, user, called):
        """A phone that registers over TCP and takes calls on that same connection (RFC 5626): one SIPp, whose second
        scenario hears what belongs to no call of the first."""
        registration = scenario.register(user, PASSWORD.format(user), DOMAIN,
                                         f"sip:{user}@[local_ip]:[local_port];transport=tcp")
        calls = os.path.join(self.directory, self._unique(f"tcp-calls-{user}") + ".xml")
        with open(calls, "w") as file:
            file.write(scenario.xml("calls", called.call_or_cancel()))
        phone = self.endpoint(self.network.phones, f"tcp-phone-{user}", [registration, scenario.pause(60000)],
                              self.phone(user), None, self.box_for(user), calls=1, timeout=90, transport="t1",
                              options=["-oocsf", calls])
        self.wait_for(lambda: any(contact["transport"] == "tcp" for station in self.daemon.status()["stations"]
                                  if station["station"] == user for contact in station["contacts"]),
                      f"{user} is registered over TCP", 5)
        return phone

    def from_station(self, caller_or_steps, user="2001", name="caller", **options):
        """Calls placed by a phone through the box."""
        steps = caller_or_steps.call() if isinstance(caller_or_steps, scenario.Caller) else caller_or_steps
        return self.endpoint(self.network.phones, name, steps, self.phone(user), options.pop("port", None),
                             options.pop("remote", None) or self.box_for(user), **options)

    def from_carrier(self, caller_or_steps, which=0, name="inbound", **options):
        """Calls placed by a carrier to the box."""
        steps = caller_or_steps.call() if isinstance(caller_or_steps, scenario.Caller) else caller_or_steps
        return self.endpoint(self.network.carrier, name, steps, CARRIERS[which], None, f"{WAN_BOX}:5060", **options)

    def caller(self, user="2001", called="95551234", **options):
        return scenario.Caller(user, called, DOMAIN, PASSWORD.format(user), **options)

    def noise(self, milliseconds):
        return capture.noise(os.path.join(self.directory, self._unique("noise")), milliseconds)

    # Observation --------------------------------------------------------------------------------------------------

    def watch(self, expression=""):
        """Captures at the phones and at the carrier."""
        pair = []
        for namespace, interface in ((self.network.phones, "lan"), (self.network.carrier, "wan")):
            running = capture.Capture(namespace, interface,
                                      os.path.join(self.directory, self._unique(interface) + ".pcap"), expression)
            self.captures.append(running)
            pair.append(running)
        return pair

    def wait_for(self, condition, what, timeout=10, interval=0.1):
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            with contextlib.suppress(KeyError, IndexError):
                if condition():
                    return
            time.sleep(interval)
        raise AssertionError(f"not within {timeout} s: {what}")


def _main_thread():
    return threading.current_thread() is threading.main_thread()
