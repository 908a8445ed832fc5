"""A sender of RTP and RTCP whose every packet is ours to lose, repeat or reorder, and a judge of what arrived."""

import re
import socket
import struct
import threading
import time

from namespaces import run

PACKET = 0.02  # seconds
TICKS = 160  # of 8 kHz in a packet
EVENT = 101


class Talker:
    """One end of a stream: RTP on `port`, RTCP on the next. Everything it hears is kept."""

    def __init__(self, namespace, address, port, ssrc):
        self.ssrc, self.heard, self.sent = ssrc, {"rtp": [], "rtcp": []}, 0
        self.sockets = {}
        for name, number in (("rtp", port), ("rtcp", port + 1)):
            with namespace.entered():
                self.sockets[name] = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.sockets[name].bind((address, number))
            threading.Thread(target=self._listen, args=(name,), daemon=True).start()
        self.target = None

    def _listen(self, name):
        while True:
            try:
                datagram = self.sockets[name].recv(2048)
            except OSError:
                return
            if not datagram:
                return
            self.heard[name].append((time.monotonic(), datagram))

    def speak(self, sequence, first=1000, payload_types=None):
        """One packet each 20 ms: `sequence` names the packets by number, in the order they leave; a list goes at once.
        The timestamp is the packet's own, but for events, which have that of the first one in a row."""
        payload_types, event = payload_types or {}, None
        start = time.monotonic()
        for slot, numbers in enumerate(sequence):
            time.sleep(max(0, start + slot * PACKET - time.monotonic()))
            for number in numbers if isinstance(numbers, list) else [numbers]:
                kind = payload_types.get(number, 0)
                event = None if kind != EVENT else number if event is None else event
                stamp = (number if event is None else event) * TICKS
                self.sockets["rtp"].sendto(
                    struct.pack("!BBHII", 0x80, kind, (first + number) & 0xFFFF, stamp, self.ssrc)
                    + (b"\x01\x0a\x00\xa0" if kind == EVENT else bytes([number & 0xFF]) * 160), self.target)
                self.sent += 1

    def report(self, ntp=None, block=None):
        """A sender report with this NTP time, or a receiver report; `block` is a reception report."""
        body = struct.pack("!I", self.ssrc)
        if ntp is not None:
            body += struct.pack("!QIII", ntp, 0, self.sent, self.sent * 160)
        body += block or b""
        packet = struct.pack("!BBH", 0x80 | bool(block), 201 if ntp is None else 200, len(body) // 4) + body
        self.sockets["rtcp"].sendto(packet, (self.target[0], self.target[1] + 1))

    def wait_heard(self, name, timeout=3):
        """The time the latest packet came, once there is one."""
        deadline = time.monotonic() + timeout
        while not self.heard[name]:
            if time.monotonic() > deadline:
                raise AssertionError(f"no {name} within {timeout} s")
            time.sleep(0.002)
        return self.heard[name][-1][0]

    def close(self):
        for each in self.sockets.values():
            each.close()


def block(ssrc, fraction=0, lost=0, highest=0, jitter=0, last=0, delay=0):
    """A reception report block (RFC 3550 §6.4.1); `delay` in seconds."""
    return struct.pack("!IIIIII", ssrc, fraction << 24 | lost & 0xFFFFFF, highest, jitter, last, int(delay * 65536))


def jitter_of(packets, event):
    """Interarrival jitter in ms at the end of `packets`, (nanoseconds, datagram) each; without events and repetitions."""
    jitter, before, seen = 0.0, None, set()
    for stamp, datagram in packets:
        _, kind, number, ticks, _ = struct.unpack_from("!BBHII", datagram)
        if kind & 127 == event or number in seen:
            continue
        seen.add(number)
        transit = stamp / 1e6 - ticks / 8
        if before is not None:
            jitter += (abs(transit - before) - jitter) / 16
        before = transit
    return jitter


def tshark_streams(path, *ports):
    """What tshark says of the RTP streams in a capture, by SSRC: packets, lost (duplicates make up for it), and least, mean
    and greatest jitter in ms."""
    decode = [word for port in ports for word in ("-d", f"udp.port=={port},rtp")]
    streams = {}
    for line in run("tshark", "-r", path, *decode, "-q", "-z", "rtp,streams").splitlines():
        found = re.search(r"0x([0-9A-Fa-f]{8})\s+(.*)", line)
        if not found:
            continue
        # Payload, packets, lost with its share, and the deltas and jitters as minimum, mean, maximum.
        figures = re.search(r"(\d+)\s+(-?\d+)\s+\(-?[\d.]+%\)((?:\s+-?[\d.]+)+)", found.group(2))
        numbers = [float(number) for number in figures.group(3).split()]
        streams[int(found.group(1), 16)] = {
            "packets": int(figures.group(1)), "lost": int(figures.group(2)), "jitters": numbers[-3:]}
    return streams
