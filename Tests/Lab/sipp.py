"""Running SIPp: one process per endpoint, its output in files, its numbers read at the end."""

import contextlib
import csv
import os
import re
import signal
import subprocess
import time

import scenario as scenarios


class SIPp:
    """One SIPp process in a namespace."""

    def __init__(self, directory, namespace, name, steps, local, local_port, remote=None, transport="u1",
                 calls=None, rate=None, limit=None, timeout=60, media=None, media_port=None, options=()):
        self.name, self.local_port, self.transport = name, local_port, transport
        self.base = os.path.join(directory, name)
        text = steps if isinstance(steps, str) else scenarios.xml(name, steps)
        with open(self.base + ".xml", "w") as file:
            file.write(text)
        command = ["sipp", "-sf", self.base + ".xml", "-i", local, "-p", local_port, "-t", transport, "-nostdin",
                   "-mi", media or local, "-trace_err", "-error_file", self.base + ".err",
                   "-trace_stat", "-stf", self.base + ".csv", "-fd", "1", "-f", "5", "-skip_rlimit"]
        if "[authentication" in text:
            # By itself SIPp signs its peer's address; the credentials must name the Request-URI (RFC 7616 §3.4.3).
            command += ["-auth_uri", re.search(r"^[A-Z]+ sip:(\S+) SIP/2.0", text, re.M).group(1)]
        if media_port:
            command += ["-mp", media_port]
        if calls:
            command += ["-m", calls]
        if rate:
            command += ["-r", rate]
        if limit:
            command += ["-l", limit]
        if timeout:
            command += ["-timeout", f"{timeout}s", "-timeout_error"]
        command += options
        if remote:
            command.append(remote)
        self.output = open(self.base + ".out", "wb")
        self.process = namespace.start(*command, stdout=self.output, stderr=subprocess.STDOUT, cwd=directory,
                                       env={**os.environ, "TERM": "dumb"})
        self.timeout = timeout

    def wait(self, timeout=None):
        """SIPp's exit status: 0 when every call succeeded."""
        try:
            return self.process.wait(timeout or (self.timeout or 60) + 10)
        except subprocess.TimeoutExpired:
            self.kill()
            return -1
        finally:
            self.output.close()

    def stop(self):
        """Asks a server to end after its calls; SIGUSR1 is SIPp's word for it."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGUSR1)
            try:
                self.process.wait(6)
            except subprocess.TimeoutExpired:
                self.kill()
        self.output.close()

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.output.close()

    def statistics(self):
        """The last line of SIPp's statistics, by column name."""
        try:
            with open(self.base + ".csv") as file:
                rows = list(csv.DictReader(file, delimiter=";"))
            return rows[-1] if rows else {}
        except FileNotFoundError:
            return {}

    def count(self, column):
        try:
            return int(self.statistics().get(column) or 0)
        except ValueError:
            return 0

    @property
    def successful(self):
        return self.count("SuccessfulCall(C)")

    @property
    def failed(self):
        return self.count("FailedCall(C)")

    def errors(self, limit=2000):
        """What SIPp complained about, for the reader of a failed run."""
        text = ""
        for suffix in (".err", ".out"):
            try:
                with open(self.base + suffix, errors="replace") as file:
                    text += re.sub(r"[^\n]*?receive timeout on message \S+, jumping to label \d+", "", file.read())
            except FileNotFoundError:
                pass
            if text.strip():
                break
        return text[-limit:].strip()

    def wait_listening(self, timeout=5):
        """True when the port is open: looked up in the kernel's socket tables of SIPp's own namespace."""
        wanted = f":{self.local_port:04X}"
        tables = ("udp", "udp6") if self.transport.startswith("u") else ("tcp", "tcp6")
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline and self.process.poll() is None:
            for table in tables:
                with contextlib.suppress(OSError), open(f"/proc/{self.process.pid}/net/{table}") as file:
                    # Local address in the second column; state 0A listens (TCP), 07 is unconnected (UDP).
                    if any(line.split()[1].endswith(wanted) and line.split()[3] in ("0A", "07") for line in file):
                        return True
            time.sleep(0.02)
        return False
