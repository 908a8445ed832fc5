"""What the machine's cores did: how long the box's core was not idle, and what others took."""

import os
import re
import time

GENERATOR_CORE, BOX_CORE = 0, 1
FOREIGN_MAX = 0.05
TICK = os.sysconf("SC_CLK_TCK")
KERNEL_THREAD = 0x00200000  # PF_KTHREAD, include/linux/sched.h


NICENESS = -20


def go_first():
    """This process and all it starts go before others, whose builds would otherwise be in the figures. All candidates
    are treated alike. In a session of its own, since the scheduler shares among sessions first (sched(7), autogroup)."""
    os.setpriority(os.PRIO_PROCESS, 0, NICENESS)
    try:
        os.setsid()
    except PermissionError:
        pass  # it leads one
    try:
        with open("/proc/self/autogroup", "w") as autogroup:
            autogroup.write(str(NICENESS))
    except OSError:
        pass  # the kernel has none


def idle_seconds():
    """Of the box's core, waiting for disks included. /proc/stat shows the same clock in steps of 10 ms only."""
    try:
        with open("/proc/timer_list") as file:
            text = file.read().split(f"cpu: {BOX_CORE}\n", 1)[1]
        return sum(int(re.search(rf"\.{name} *: (\d+) nsecs", text).group(1))
                   for name in ("idle_sleeptime", "iowait_sleeptime")) / 1e9
    except (OSError, IndexError, AttributeError):
        with open("/proc/stat") as stat:
            fields = next(line.split() for line in stat if line.startswith(f"cpu{BOX_CORE} "))
        return (int(fields[4]) + int(fields[5])) / TICK


def stolen_seconds():
    """By the machine's host, of all cores."""
    with open("/proc/stat") as stat:
        return int(stat.readline().split()[8]) / TICK


def thread_seconds(pids):
    """What the scheduler charged to these processes, by their CPU clocks (clock_getcpuclockid(3))."""
    return sum(time.clock_gettime((~pid << 3) | 2) for pid in pids)


def foreign_seconds():
    """CPU time of every process that neither is ours nor a kernel thread, its ended children included."""
    parents, seconds = {}, {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/stat") as file:
                fields = file.read().rsplit(")", 1)[1].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        parents[int(pid)] = int(fields[1])
        if not int(fields[6]) & KERNEL_THREAD:
            seconds[int(pid)] = sum(map(int, fields[11:15])) / TICK
    own = os.getpid()

    def is_ours(pid):
        while pid and pid != own:
            pid = parents.get(pid, 0)
        return pid == own

    return sum(value for pid, value in seconds.items() if not is_ours(pid)) + stolen_seconds()


class Foreign:
    """The share of one core that others took between two moments."""

    def __init__(self):
        self.began, self.seconds = time.monotonic(), foreign_seconds()

    def share(self):
        return max(0.0, (foreign_seconds() - self.seconds) / (time.monotonic() - self.began))


class Quiet:
    """Waits for others to be done, but not for ever: `budget` seconds in the whole run."""

    def __init__(self, budget):
        self.budget = budget

    def wait(self):
        while self.budget > 0:
            foreign = Foreign()
            time.sleep(0.2)
            if foreign.share() <= FOREIGN_MAX:
                return
            time.sleep(0.3)
            self.budget -= 0.5

    def may_repeat(self, seconds):
        """True if there is time to measure once more; takes it off the budget."""
        if self.budget < seconds:
            return False
        self.budget -= seconds
        return True
