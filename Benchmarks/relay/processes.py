"""Processes that hold something in a namespace until their input is closed, and talk in lines. None is waited for
without a deadline."""

import os
import select
import subprocess
import time

from machine import GENERATOR_CORE


class DidNotRun(Exception):
    """A candidate that cannot be measured; its text says why."""


class Held:
    """A process pinned to a core; started once it has said "ready"."""

    def __init__(self, core, *command, namespace=None, deadline=20):
        prefix = ["ip", "netns", "exec", namespace] if namespace else []
        self.name = os.path.basename(str(command[0]))
        self.process = subprocess.Popen(
            [*prefix, "taskset", "-c", str(core), *map(str, command)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.pid = self.process.pid
        self.pending = b""
        self.said = []
        try:
            while (line := self.line(deadline)) != "ready":
                self.said.append(line)
        except DidNotRun:
            self.close()
            raise

    def line(self, deadline):
        """The next line it says, within `deadline` seconds."""
        end = time.monotonic() + deadline
        while b"\n" not in self.pending:
            readable, _, _ = select.select([self.process.stdout], [], [], max(0, end - time.monotonic()))
            text = os.read(self.process.stdout.fileno(), 65536) if readable else None
            if not text:
                last = " / ".join([*self.said, self.pending.decode(errors="replace")][-3:]).strip()
                raise DidNotRun(f"{self.name}: {'ended' if readable else f'silent for {deadline} s'}"
                                f"{': ' + last if last else ''}")
            self.pending += text
        line, self.pending = self.pending.split(b"\n", 1)
        return line.decode(errors="replace").strip()

    def tell(self, text):
        try:
            self.process.stdin.write(text.encode() + b"\n")
            self.process.stdin.flush()
        except OSError:
            raise DidNotRun(f"{self.name}: ended: {' / '.join(self.said[-3:])}") from None

    def ask(self, text, deadline=5):
        self.tell(text)
        return self.line(deadline)

    def has_ended(self):
        return self.process.poll() is not None

    def close(self):
        try:
            self.process.stdin.close()
        except OSError:
            pass  # it went first
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Sinks(Held):
    """Counts and drops what arrives at the interfaces."""

    def __init__(self, tool, program, places):
        super().__init__(GENERATOR_CORE, tool, "hold", f"{os.path.dirname(tool)}/bench.bpf.o", program, *places)

    def count(self):
        return int(self.ask("count"))

    def latencies(self):
        """(samples, 50th, 99th, 99.9th percentile in nanoseconds) since last asked; of no samples only 0."""
        return [int(part) for part in self.ask("latency").split()[1:]]


class Generator(Held):
    """Sends what the flows file says, out of both interfaces."""

    def __init__(self, tool, flows, places):
        super().__init__(GENERATOR_CORE, tool, "generate", f"{os.path.dirname(tool)}/bench.bpf.o", flows, *places)

    def start(self, rate, seconds, burst, stamps=False):
        self.seconds = seconds
        line = self.ask(f"{rate} {seconds} {burst} {int(stamps)}")
        if line != "sending":
            raise DidNotRun(line)

    def finish(self):
        """(packets sent, packets per second); waits for the end."""
        line = self.line(self.seconds + 10)
        try:
            sent, nanoseconds, _ = map(int, line.split())
        except ValueError:
            raise DidNotRun(line) from None
        return sent, sent * 1e9 / nanoseconds


class ProgramTime(Held):
    """What the kernel counts of the program attached at `place` (bpf_stats), until asked."""

    def __init__(self, tool, place, family):
        super().__init__(GENERATOR_CORE, tool, "runtime", place, "xdp" if family == "xdp" else "tcx")

    def nanoseconds(self):
        """Per run; None if it did not run."""
        runs, nanoseconds = map(int, self.ask("").split())
        return nanoseconds / runs if runs else None
