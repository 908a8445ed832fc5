"""What really went over the wires: tcpdump at both ends, packets matched one by one.

Both captures are stamped by the same kernel clock, so a delay is the difference of two stamps.
"""

import contextlib
import ipaddress
import os
import signal
import struct
import subprocess
import time
from typing import NamedTuple


class Packet(NamedTuple):
    time: int  # nanoseconds
    protocol: str  # udp, tcp, icmp, icmp6, other
    source: str
    source_port: int
    destination: str
    destination_port: int
    payload: bytes
    frame: bytes


class Capture:
    """tcpdump on one interface. `expression` is a pcap filter; `snapshot` bytes of each packet are kept: the fewer, the
    more packets fit into tcpdump's buffer."""

    def __init__(self, namespace, interface, path, expression="", snapshot=262144):
        self.path = path
        self.process = namespace.start(
            "tcpdump", "-i", interface, "-w", path, "--time-stamp-precision=nano", "-U", "-n", "-B", "8192", "-s", str(snapshot),
            "--immediate-mode", "-Z", "root", *expression.split(), stderr=subprocess.PIPE)
        # tcpdump says "listening on" once it will miss nothing more.
        for line in self.process.stderr:
            if b"listening on" in line:
                break
        else:
            raise RuntimeError(f"tcpdump on {interface} did not start")
        self.dropped = 0

    def stop(self):
        """Ends the capture and returns its packets."""
        if self.process.poll() is None:
            time.sleep(0.15)  # what is on the wire reaches the file
            self.process.send_signal(signal.SIGINT)
            tail = self.process.stderr.read().decode(errors="replace")
            self.process.wait()
            self.process.stderr.close()
            for line in tail.splitlines():
                if "dropped by kernel" in line:
                    self.dropped = int(line.split()[0])
        return read_pcap(self.path)

    def kill(self):
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait()
        self.process.stderr.close()


def read_pcap(path):
    packets = []
    with open(path, "rb") as file:
        content = file.read()
    if len(content) < 24:
        return packets
    nanoseconds = struct.unpack_from("<I", content)[0] == 0xA1B23C4D
    offset = 24
    while offset + 16 <= len(content):
        seconds, fraction, length, _ = struct.unpack_from("<IIII", content, offset)
        offset += 16
        frame = content[offset:offset + length]
        offset += length
        packets.append(decode(seconds * 1_000_000_000 + (fraction if nanoseconds else fraction * 1000), frame))
    return packets


def decode(stamp, frame):
    other = Packet(stamp, "other", "", 0, "", 0, b"", frame)
    if len(frame) < 34:
        return other
    kind, at = struct.unpack_from("!H", frame, 12)[0], 14
    if kind == 0x0800:
        header = (frame[at] & 15) * 4
        protocol, total = frame[at + 9], struct.unpack_from("!H", frame, at + 2)[0]
        source, destination = (str(ipaddress.IPv4Address(frame[at + o:at + o + 4])) for o in (12, 16))
        if struct.unpack_from("!H", frame, at + 6)[0] & 0x1FFF:  # a later fragment has no ports
            return Packet(stamp, "fragment", source, 0, destination, 0, frame[at + header:at + total], frame)
        end = at + total
        at += header
    elif kind == 0x86DD and len(frame) >= 54:
        protocol, length = frame[at + 6], struct.unpack_from("!H", frame, at + 4)[0]
        source, destination = (str(ipaddress.IPv6Address(frame[at + o:at + o + 16])) for o in (8, 24))
        at += 40
        end = at + length
    else:
        return other
    if protocol == 17 and len(frame) >= at + 8:
        ports, start, name = struct.unpack_from("!HH", frame, at), at + 8, "udp"
    elif protocol == 6 and len(frame) >= at + 20:
        ports, start, name = struct.unpack_from("!HH", frame, at), at + (frame[at + 12] >> 4) * 4, "tcp"
    else:
        ports, start, name = (0, 0), at, {1: "icmp", 58: "icmp6"}.get(protocol, "other")
    return Packet(stamp, name, source, ports[0], destination, ports[1], frame[start:end], frame)


# RTP --------------------------------------------------------------------------------------------------------------

def rtp_key(packet):
    """SSRC, sequence number and the start of the speech: SIPp counts SSRCs from the same number everywhere,
    but each endpoint plays noise of its own."""
    payload = packet.payload
    if packet.protocol != "udp" or len(payload) < 20 or payload[0] >> 6 != 2 or 72 <= payload[1] & 127 <= 79:
        return None
    return payload[8:12] + payload[2:4] + payload[12:28]


class Direction:
    """One direction of speech: packets that left the near end against packets that reached the far end."""

    def __init__(self, name):
        self.name, self.sent, self.seen, self.lost, self.duplicated = name, 0, 0, 0, 0
        self.delays = []  # nanoseconds

    def add(self, sent, seen):
        """`sent` and `seen` are lists of (key, time)."""
        first = {}
        for key, stamp in seen:
            if key in first:
                self.duplicated += 1
            first.setdefault(key, stamp)
        for key, stamp in sent:
            self.sent += 1
            arrival = first.get(key)
            if arrival is None:
                self.lost += 1
            else:
                self.seen += 1
                self.delays.append(arrival - stamp)
        return self

    def percentile(self, share):
        """Microseconds."""
        if not self.delays:
            return float("nan")
        ordered = sorted(self.delays)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))] / 1000


def rtp_from(packets, addresses):
    """RTP sent by one of `addresses`."""
    return [(key, packet.time) for packet in packets
            if packet.source in addresses and (key := rtp_key(packet)) is not None]


def rtp_to(packets, addresses):
    return [(key, packet.time) for packet in packets
            if packet.destination in addresses and (key := rtp_key(packet)) is not None]


def noise(path, milliseconds):
    """Speech for SIPp's rtp_stream: G.711 of this length (8 bytes a millisecond), of whole 20 ms packets, never alike."""
    with open(path, "wb") as file:
        file.write(os.urandom(160 * max(1, int(milliseconds) // 20)))
    return path
