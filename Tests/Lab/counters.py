"""What the box counted, read from `cresset status --json` and `cresset calls --json`."""

import json


def relayed(daemon):
    """Packets the kernel has relayed since start: (towards the called, towards the caller)."""
    media = daemon.status()["media"]
    return media["packets-to-called"], media["packets-to-caller"]


def active_calls(daemon):
    return len(daemon.calls()["calls"])


class Trunk:
    def __init__(self, status):
        self.up = status["health"] in ("up", "unchecked")
        registration = status["registration"]
        self.registered = (registration if isinstance(registration, str) else registration["state"]) == "registered"


def trunk(daemon, name):
    return Trunk(next(each for each in daemon.status()["trunks"] if each["name"] == name))


def attachments(namespace):
    """BPF programs in the way of packets in a namespace: {(interface, kind): count}."""
    found = {}
    for group in json.loads(namespace.run("bpftool", "-j", "net", "show") or "[]"):
        for kind in ("xdp", "tc"):
            for each in group.get(kind, []):
                key = (each.get("devname"), kind)
                found[key] = found.get(key, 0) + 1
    return found
