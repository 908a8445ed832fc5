"""What the box counted, read from `cresset status --json` and `cresset calls --json`, and what is attached in the kernel."""

import ctypes
import json
import platform
import socket
import struct

BPF_SYSCALL = {"x86_64": 321, "aarch64": 280}
BPF_PROG_QUERY, BPF_TCX_INGRESS = 16, 46


def relayed(daemon):
    """Packets the kernel has relayed since start, by the interface where they arrived."""
    return {each["interface"]: each["relayed"] for each in daemon.status()["media"]["received"]}


def active_calls(daemon):
    """Without calls that are over but still wait for late answers: those are in `calls` as "ending"."""
    return daemon.status()["calls"]["active"]


class Trunk:
    def __init__(self, status):
        self.up = status["state"] in ("up", "unchecked")
        self.registered = status["registration"] == "registered"


def trunk(daemon, name):
    return Trunk(next(each for each in daemon.status()["trunks"] if each["trunk"] == name))


def attachments(namespace, interfaces=("lan0", "wan0")):
    """BPF programs in the way of packets in a namespace: {(interface, kind): count}, kind xdp or tc."""
    found = {}
    links = {each["ifname"]: each for each in json.loads(namespace.ip("-j", "link", "show"))}
    for name in interfaces:
        if "xdp" in links[name]:
            found[name, "xdp"] = 1
        legacy = namespace.run("tc", "filter", "show", "dev", name, "ingress", check=False).count("bpf")
        with namespace.entered():
            count = legacy + tcx_ingress_count(socket.if_nametoindex(name))
        if count:
            found[name, "tc"] = count
    return found


def tcx_ingress_count(index):
    """BPF_PROG_QUERY for TCX ingress: Debian 12's bpftool does not know it yet. 0 on kernels without TCX."""
    programs = (ctypes.c_uint32 * 16)()
    query = struct.pack("=IIIIQI", index, BPF_TCX_INGRESS, 0, 0, ctypes.addressof(programs), len(programs)).ljust(120, b"\0")
    buffer = ctypes.create_string_buffer(query, 120)
    if ctypes.CDLL(None, use_errno=True).syscall(BPF_SYSCALL[platform.machine()], BPF_PROG_QUERY, buffer, 64) != 0:
        return 0
    return struct.unpack_from("=I", buffer, 24)[0]
