"""What the box counted, read from `cresset status --json` and `cresset calls --json`, and what is attached in the kernel."""

import json


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


def attachments(namespace):
    """BPF programs in the way of packets in a namespace: {(interface, kind): count}."""
    found = {}
    for group in json.loads(namespace.run("bpftool", "-j", "net", "show") or "[]"):
        for kind in ("xdp", "tc"):
            for each in group.get(kind, []):
                key = (each.get("devname"), kind)
                found[key] = found.get(key, 0) + 1
    return found
