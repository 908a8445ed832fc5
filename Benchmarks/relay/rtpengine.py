"""rtpengine in user space with one call for each of ours. As a program: makes the calls, inside the box."""

import os
import random
import re
import signal
import socket
import subprocess
import sys
import time

if __name__ != "__main__":
    from machine import BOX_CORE
    from processes import DidNotRun

NG_PORT = 22222
START_SECONDS_MAX, CALLS_SECONDS_MAX = 20, 60


class Rtpengine:
    """Stopped (SIGSTOP) but for the time it is measured, so that its timers cost nobody else."""

    def __init__(self, topology, phone, lan, wan, carrier, calls):
        self.log = f"{topology.directory}/rtpengine.log"
        with open(self.log, "wb") as log:
            try:
                self.process = subprocess.Popen(
                    ["ip", "netns", "exec", topology.box, "taskset", "-c", str(BOX_CORE), "rtpengine", "--foreground",
                     "--config-file=none", "--table=-1", f"--interface=lan/{lan}", f"--interface=wan/{wan}",
                     f"--listen-ng=127.0.0.1:{NG_PORT}", "--port-min=20000", "--port-max=29999", "--log-level=4",
                     "--log-stderr", "--num-threads=1", "--timeout=7200", "--silent-timeout=7200"],
                    stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            except OSError as error:
                raise DidNotRun(str(error)) from None
        try:
            self.ports = self.make_calls(topology, phone, carrier, calls)
        except DidNotRun:
            self.close()
            raise
        self.pause()

    def make_calls(self, topology, phone, carrier, calls):
        """The box's port of each call towards the phone and the carrier. An rtpengine that ended is not waited for."""
        client = subprocess.Popen(
            ["ip", "netns", "exec", topology.box, sys.executable, "-B", __file__, phone, carrier, str(calls)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        end = time.monotonic() + CALLS_SECONDS_MAX
        while True:
            try:
                output, errors = client.communicate(timeout=0.2)
                break
            except subprocess.TimeoutExpired:
                if self.process.poll() is not None or time.monotonic() > end:
                    client.kill()
        ports = [tuple(map(int, line.split())) for line in output.split("\n") if line]
        if client.returncode != 0 or len(ports) != calls:
            raise DidNotRun(f"{len(ports)} of {calls} calls made; {errors.strip()[-200:]} {self.last_words()}")
        return ports

    def last_words(self):
        with open(self.log, errors="replace") as log:
            lines = log.read().strip().split("\n")[-2:]
        ended = self.process.poll()
        return f"({'ended' if ended is not None else 'runs'}; log: {' / '.join(lines)})"

    def pause(self):
        os.kill(self.process.pid, signal.SIGSTOP)

    def resume(self):
        if self.process.poll() is not None:
            raise DidNotRun(f"rtpengine: {self.last_words()}")
        os.kill(self.process.pid, signal.SIGCONT)

    def close(self):
        if self.process.poll() is None:
            self.process.terminate()
            os.kill(self.process.pid, signal.SIGCONT)
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def bencode(value):
    if isinstance(value, dict):
        return b"d" + b"".join(bencode(key) + bencode(value[key]) for key in sorted(value)) + b"e"
    if isinstance(value, list):
        return b"l" + b"".join(map(bencode, value)) + b"e"
    text = value.encode()
    return str(len(text)).encode() + b":" + text


class Control:
    """rtpengine's ng protocol: a cookie, a bencoded dictionary, an answer with the same cookie."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.connect(("127.0.0.1", NG_PORT))

    def ask(self, request, seconds=10):
        """Repeats the request until its own answer comes; a late answer to an earlier one is skipped."""
        cookie = f"{random.getrandbits(64):x}"
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                self.socket.settimeout(1)
                self.socket.send(cookie.encode() + b" " + bencode(request))
                while not (answer := self.socket.recv(65536).decode(errors="replace")).startswith(cookie):
                    pass
                return answer
            except ConnectionRefusedError:
                time.sleep(0.1)
            except TimeoutError:
                pass
        raise SystemExit(f"no answer to {request['command']} in {seconds} s")

    def port(self, request):
        """What an offer or answer is told to send to."""
        answer = self.ask(request)
        port = re.search(r"m=audio (\d+) ", answer)
        if "6:result2:ok" not in answer or not port or port.group(1) == "0":
            raise SystemExit(f"{request['command']}: {answer[:200]}")
        return port.group(1)


def description(address, port):
    return (f"v=0\r\no=- 1 1 IN IP4 {address}\r\ns=-\r\nc=IN IP4 {address}\r\nt=0 0\r\n"
            f"m=audio {port} RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\n")


def make_calls(phone, carrier, calls):
    """Prints, for each call, the port the phone and the port the carrier is told to send to."""
    control = Control()
    control.ask({"command": "ping"}, START_SECONDS_MAX)
    for index in range(calls):
        call = {"call-id": f"call{index}", "from-tag": "a", "ICE": "remove"}
        wan = control.port({**call, "command": "offer", "sdp": description(phone, 10000 + 2 * index),
                            "direction": ["lan", "wan"]})
        lan = control.port({**call, "command": "answer", "to-tag": "b", "sdp": description(carrier, 30000 + 2 * index)})
        print(lan, wan)


if __name__ == "__main__":
    make_calls(sys.argv[1], sys.argv[2], int(sys.argv[3]))
