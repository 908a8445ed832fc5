"""cressetd under test: its configuration, its life, and what it says about itself."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import threading
import time

from namespaces import CARRIERS, LAN_BOX, LAN_BOX6, WAN_BOX, run

REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
DOMAIN = "branch.example"
PASSWORD = "quiet-harbour-{0}"  # of the stations, with their user
TRUNK_USER, TRUNK_PASSWORD = "box7", "trunk-secret"


def binary(name):
    """The built program: CRESSET_BUILD names another directory than the debug build."""
    path = os.path.join(os.environ.get("CRESSET_BUILD") or os.path.join(REPOSITORY, ".build", "debug"), name)
    if not os.path.exists(path):
        raise RuntimeError(f"{path} is missing: build first (`make build`)")
    return path


def configuration(datapath="auto", stations=("2001", "2002", "2003"), stations6=("2006",), registration=True,
                  calls_max=120, health_interval="2s", attempt_timeout="1s", ring_timeout="30s", trunk_b=True,
                  trunk_transport="auto", log_level="info", extra=None):
    """The branch of the lab as file name → text. `health_interval=None` switches the ping off; `extra` adds or replaces files."""
    files = {"system.toml": f"""
[system]
name = "lab"
domain = "{DOMAIN}"
digest-algorithms = ["MD5"]  # SIPp 3.6 reads no challenge but the first one, and knows no other hash

[calls]
maximum = {calls_max}
ring-timeout = "{ring_timeout}"

[log]
level = "{log_level}"
""", "realms.toml": f"""
[realms.lan]
interface = "lan0"
address = "{LAN_BOX}"
media-ports = "20000-29999"
datapath = "{datapath}"
role = "stations"

[realms.lan6]
interface = "lan0"
address = "{LAN_BOX6}"
media-ports = "20000-29999"
datapath = "{datapath}"
role = "stations"

[realms.wan]
interface = "wan0"
address = "{WAN_BOX}"
media-ports = "30000-39999"
datapath = "{datapath}"
role = "trunks"
"""}
    lines = []
    for realm, users in (("lan", stations), ("lan6", stations6)):
        for user in users:
            lines.append(f'[stations.{user}]\nrealm = "{realm}"\npassword = "{PASSWORD.format(user)}"\n'
                         f'number = "+1313555{user}"\n')
    files["stations.toml"] = "\n".join(lines)
    trunk = """
[trunks.{name}]
realm = "wan"
peer = "{peer}"
transport = "{transport}"
attempt-timeout = "{attempt}"
health = {health}
{registration}
"""
    health = f'{{ interval = "{health_interval}", timeout = "1s", failures = 3, successes = 2 }}' \
        if health_interval else "{ enabled = false }"
    register = f'registration = {{ username = "{TRUNK_USER}", password = "{TRUNK_PASSWORD}", ' \
               f'registrar = "{CARRIERS[0]}", domain = "carrier.example", expires = 300 }}'
    files["trunks.toml"] = trunk.format(name="carrier-a", peer=CARRIERS[0], attempt=attempt_timeout,
                                        health=health, transport=trunk_transport,
                                        registration=register if registration else "")
    if trunk_b:
        files["trunks.toml"] += trunk.format(name="carrier-b", peer=CARRIERS[1], attempt=attempt_timeout,
                                             health=health, transport=trunk_transport, registration="")
    both = '"carrier-a", "carrier-b"' if trunk_b else '"carrier-a"'
    files["routes.toml"] = f"""
[[routes]]
pattern = "9NXXXXXX"
strip = 1
prepend = "+1313"
trunks = [{both}]
"""
    files["numbers.toml"] = "[numbers]\n" + "".join(
        f'"+1313555{user}" = "{user}"\n' for user in (*stations, *stations6))
    files.update(extra or {})
    return files


class Daemon:
    """One cressetd in a namespace, with a configuration directory of its own below `directory`."""

    def __init__(self, namespace, directory, files, say=None, arguments=()):
        self.namespace, self.say, self.arguments = namespace, say, arguments
        self.configuration = os.path.join(directory, "etc")
        self.state = os.path.join(directory, "state")
        self.control = os.path.join(directory, "control.sock")
        self.log_path = os.path.join(directory, "cressetd.log")
        os.makedirs(self.configuration, exist_ok=True)
        os.makedirs(self.state, exist_ok=True)
        self.write(files)
        self.process = None
        self.before = []  # words in front of the command, as `nice`
        self.log = []

    def write(self, files):
        for name in os.listdir(self.configuration):
            path = os.path.join(self.configuration, name)
            shutil.rmtree(path) if os.path.isdir(path) else os.remove(path)
        for name, text in files.items():
            with open(os.path.join(self.configuration, name), "w") as file:
                file.write(text)
            os.chmod(os.path.join(self.configuration, name), 0o600)

    def start(self, timeout=20):
        with contextlib.suppress(FileNotFoundError):
            os.remove(self.control)
        self.process = self.namespace.start(
            *self.before, "nice", "-n", "-10",  # as its systemd unit says
            binary("cressetd"), "--config", self.configuration, "--state", self.state, "--control", self.control,
            *self.arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        threading.Thread(target=self._follow, args=(self.process.stdout,), daemon=True).start()
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                time.sleep(0.1)
                raise RuntimeError(f"cressetd ended at once with {self.process.returncode}:\n" + "\n".join(self.log[-20:]))
            with contextlib.suppress(Exception):
                if os.path.exists(self.control) and self.status():
                    return self
            time.sleep(0.05)
        raise RuntimeError("cressetd does not answer on its control socket:\n" + "\n".join(self.log[-20:]))

    def _follow(self, stream):
        with open(self.log_path, "ab") as file:
            for line in stream:
                file.write(line)
                file.flush()
                text = line.decode(errors="replace").rstrip()
                self.log.append(text)
                if self.say:
                    self.say(f"  box | {text}")

    def ask(self, *words):
        return json.loads(run(binary("cresset"), *words, "--json", "--control", self.control, timeout=10))

    def text(self, *words):
        """As people read it."""
        return run(binary("cresset"), *words, "--control", self.control, timeout=10)

    def status(self):
        return self.ask("status")

    def calls(self):
        return self.ask("calls")

    @property
    def alive(self):
        return self.process is not None and self.process.poll() is None

    def memory(self):
        """Resident and proportional kilobytes of the process."""
        values = {}
        with open(f"/proc/{self.process.pid}/smaps_rollup") as file:
            for line in file:
                name, _, rest = line.partition(":")
                if name in ("Rss", "Pss", "Private_Dirty"):
                    values[name] = int(rest.split()[0])
        return values

    def cpu_seconds(self):
        with open(f"/proc/{self.process.pid}/stat") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def reload(self):
        self.process.send_signal(signal.SIGHUP)

    def kill(self):
        """As a crash: no chance to clean up."""
        self.process.kill()
        self.process.wait()

    def stop(self, timeout=10):
        """Asks the daemon to end; returns its exit status, or None when it had to be killed."""
        if self.process is None:
            return None
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout)
            except subprocess.TimeoutExpired:
                self.kill()
                return None
        return self.process.returncode
