"""What the box counted, read from `cresset status --json` and `cresset calls --json`."""


def relayed(daemon):
    """Packets the kernel has relayed since start: (towards the called, towards the caller)."""
    media = daemon.status()["media"]
    return media["packets-to-called"], media["packets-to-caller"]


def active_calls(daemon):
    return len(daemon.calls()["calls"])
