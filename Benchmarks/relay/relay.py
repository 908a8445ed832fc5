"""CPU nanoseconds of the box per relayed packet: one core generates, the other does everything else.

    phones ── p ═══ l ── box ── w ═══ c ── carrier        all veth; 500 streams, G.711 size, one direction

core = (wall - idle - iowait of the box's core, /proc/stat) / packets that reached the sink: everything, wake-ups included,
but also what others do there. thread = what the scheduler charged to the receiving thread of `l`, a kernel thread pinned
to the box's core in every row, and to rtpengine: nothing foreign, but no interrupts while idle. Figures contain the
sink: subtract the base row of the same family. A figure is the median of the rounds; rounds go through all rows in
turn; a measurement waits (half a minute at most) until others use less than 5 % of the core.
"""

import os
import random
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time

BUILD = os.path.abspath(sys.argv[1])
ROUNDS = int(os.environ.get("ROUNDS", 5))
SECONDS = float(os.environ.get("SECONDS_EACH", 5))
RATE = int(os.environ.get("RATE", 100_000))
BURST = int(os.environ.get("BURST", 16))
STREAMS = 500
GENERATOR_CORE, BOX_CORE = 0, 1
TOOL, HOLDER, OBJECT = (f"{BUILD}/{name}" for name in ("relay-tool", "release/FastPathHolder", "bench.bpf.o"))
FOREIGN_MAX = 0.05
TICK = os.sysconf("SC_CLK_TCK")


def run(*command):
    return subprocess.run(command, check=True, stdin=subprocess.DEVNULL, capture_output=True, text=True).stdout


def busy_seconds():
    """Of the box's core, by what it was not: idle or waiting. Ticks are no measure of what lasts microseconds."""
    with open("/proc/stat") as stat:
        fields = next(line.split() for line in stat if line.startswith(f"cpu{BOX_CORE} "))
    return time.monotonic() - (int(fields[4]) + int(fields[5])) / TICK


def thread_seconds(pids):
    """What the scheduler charged to these processes, by their CPU clocks (clock_getcpuclockid(3))."""
    return sum(time.clock_gettime((~pid << 3) | 2) for pid in pids)


class Held:
    """A process in the box's or carrier's namespace that holds something until its input is closed."""

    def __init__(self, namespace, *command, until="ready", core=BOX_CORE):
        self.process = subprocess.Popen(
            ["ip", "netns", "exec", namespace, "taskset", "-c", str(core), *map(str, command)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.said = []
        for line in self.process.stdout:
            if line.strip() == until:
                return
            self.said.append(line.strip())
        raise RuntimeError(f"{command[0]}: {' / '.join(self.said)}")

    def count(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def close(self):
        self.process.stdin.close()
        self.process.wait(10)
        self.process.stdout.close()


class Bench:
    def __init__(self, directory):
        tag = f"{os.getpid() % 100000}"
        self.phones, self.box, self.carrier = (f"rb{tag}-{role}" for role in ("phones", "box", "carrier"))
        self.p, self.l, self.w, self.c = (f"{letter}{tag}" for letter in "plwc")
        self.macs = {name: f"02:00:00:00:0{index}:01" for index, name in enumerate((self.p, self.l, self.w, self.c))}
        self.directory = directory
        self.rtpengine = None

    def __enter__(self):
        for namespace in (self.phones, self.box, self.carrier):
            run("ip", "netns", "add", namespace)
            run("ip", "-n", namespace, "link", "set", "lo", "up")
        for far, far_name, name, net in ((self.phones, self.p, self.l, "192.0.2"),
                                         (self.carrier, self.c, self.w, "198.51.100")):
            run("ip", "-n", self.box, "link", "add", name, "address", self.macs[name], "type", "veth", "peer", "name",
                far_name, "address", self.macs[far_name], "netns", far)
            for namespace, link, other, host, other_host in ((self.box, name, far_name, 1, 10),
                                                             (far, far_name, name, 10, 1)):
                run("ip", "-n", namespace, "addr", "add", f"{net}.{host}/24", "dev", link)
                run("ip", "-n", namespace, "link", "set", link, "up")
                run("ip", "-n", namespace, "neigh", "add", f"{net}.{other_host}", "lladdr", self.macs[other], "dev", link)
        # A veth polls for buffers only with GRO on and a sender that does not segment.
        run("ip", "netns", "exec", self.box, "ethtool", "-K", self.l, "gro", "on")
        run("ip", "netns", "exec", self.phones, "ethtool", "-K", self.p, "tso", "off")
        return self

    def __exit__(self, *_):
        if self.rtpengine:
            self.rtpengine.terminate()
            self.rtpengine.wait(10)
        for namespace in (self.phones, self.box, self.carrier):
            subprocess.run(["ip", "netns", "del", namespace], check=False)

    def pin_receiver(self):
        """The polling thread of `l` on the box's core; it is made anew whenever XDP comes or goes."""
        run("ip", "netns", "exec", self.box, "sh", "-c", f"echo 1 > /sys/class/net/{self.l}/threaded")
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/comm") as comm:
                    if comm.read().startswith(f"napi/{self.l}"):
                        os.sched_setaffinity(int(pid), {BOX_CORE})
                        found.append(int(pid))
            except (FileNotFoundError, ProcessLookupError):
                pass
        if not found:
            raise RuntimeError("no polling thread to pin")
        return found

    def flows_file(self, ports):
        """Where the generator sends: `ports` is the box's port of each stream."""
        path = f"{self.directory}/flows"
        with open(path, "w") as file:
            for index, port in enumerate(ports):
                file.write(f"{self.macs[self.l]} {self.macs[self.p]} 192.0.2.10 {10000 + 2 * index} 192.0.2.1 {port}\n")
        return path

    def start_rtpengine(self):
        """rtpengine in user space with one call per stream; returns its ports towards the phones."""
        self.rtpengine = subprocess.Popen(
            ["ip", "netns", "exec", self.box, "taskset", "-c", str(BOX_CORE), "rtpengine", "--foreground", "--table=-1",
             "--interface=lan/192.0.2.1", "--interface=wan/198.51.100.1", "--listen-ng=127.0.0.1:22222", "--port-min=20000",
             "--port-max=29999", "--log-level=3", "--num-threads=1",
             "--timeout=7200", "--silent-timeout=7200"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        client = subprocess.run(
            ["ip", "netns", "exec", self.box, sys.executable, "-B", __file__, BUILD, "--calls"],
            check=True, capture_output=True, text=True)
        return [int(port) for port in client.stdout.split()]


def bencode(value):
    if isinstance(value, dict):
        return b"d" + b"".join(bencode(key) + bencode(value[key]) for key in sorted(value)) + b"e"
    if isinstance(value, list):
        return b"l" + b"".join(map(bencode, value)) + b"e"
    text = value.encode()
    return str(len(text)).encode() + b":" + text


def make_calls():
    """Inside the box: offers and answers for every stream; prints the port each phone is told to send to."""
    control = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    control.settimeout(2)
    control.connect(("127.0.0.1", 22222))

    def ask(request):
        cookie = f"{random.getrandbits(48):x}"
        for _ in range(20):
            try:
                control.send(cookie.encode() + b" " + bencode(request))
                answer = control.recv(65536).decode()
                if answer.startswith(cookie):
                    if "6:result2:ok" not in answer:
                        raise SystemExit(f"rtpengine: {answer}")
                    return re.search(r"m=audio (\d+) ", answer).group(1)
            except OSError:
                time.sleep(0.2)
        raise SystemExit("rtpengine does not answer")

    def description(address, port):
        return (f"v=0\r\no=- 1 1 IN IP4 {address}\r\ns=-\r\nc=IN IP4 {address}\r\nt=0 0\r\n"
                f"m=audio {port} RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\n")

    for index in range(STREAMS):
        call = {"call-id": f"call{index}", "from-tag": "a", "ICE": "remove"}
        ask({**call, "command": "offer", "sdp": description("192.0.2.10", 10000 + 2 * index),
             "direction": ["lan", "wan"]})
        print(ask({**call, "command": "answer", "to-tag": "b", "sdp": description("198.51.100.10", 30000 + 2 * index)}))


def rows(bench, rtpengine_ports):
    """Name, family, what it starts in the box, sink, ports."""
    own = [20000 + 2 * index for index in range(STREAMS)]
    flows = [f"192.0.2.1:{port},192.0.2.10:{10000 + 2 * index},198.51.100.1:{port},198.51.100.10:{30000 + 2 * index}"
             for index, port in enumerate(own)]

    def bare(kind):
        return lambda: Held(bench.box, TOOL, "hold", OBJECT, f"bare_{kind}", bench.l, bench.w)

    def cresset(kind):
        return lambda: Held(bench.box, HOLDER, f"{bench.l}={kind}", f"{bench.w}={kind}", *flows)

    def sink(kind, at_box=False):
        where = (bench.box, bench.l) if at_box else (bench.carrier, bench.c)
        return lambda: Held(where[0], TOOL, "hold", OBJECT, f"sink_{kind}", where[1])

    table = [("base, native XDP (sink only)", "xdp", None, sink("xdp", True), own),
             ("bare redirect, native XDP", "xdp", bare("xdp"), sink("xdp"), own),
             ("Cresset, native XDP", "xdp", cresset("xdp"), sink("xdp"), own),
             ("base, TC (sink only)", "tc", None, sink("tc", True), own),
             ("bare redirect, TC", "tc", bare("tc"), sink("tc"), own),
             ("Cresset, TC", "tc", cresset("tc"), sink("tc"), own)]
    if rtpengine_ports:
        table.append(("rtpengine, user space", "tc", None, sink("tc"), rtpengine_ports))
    return table


def measure(bench, row):
    """Of one row: CPU ns per packet by core and by thread, loss, foreign share of the core."""
    name, _, start, start_sink, ports = row
    others = [bench.rtpengine.pid] if name.startswith("rtpengine") else []
    held = [start_sink()]
    try:
        if start:
            held.append(start())
        if "Cresset" in name and not all(f" {row[1]} " in line for line in held[1].said):
            raise RuntimeError(held[1].said)
        workers = bench.pin_receiver() + others
        flows = bench.flows_file(ports)
        for _ in range(30):
            before = busy_seconds()
            time.sleep(1)
            foreign = busy_seconds() - before
            if foreign <= FOREIGN_MAX:
                break
        generator = Held(bench.phones, "sh", "-c",
                         f"echo ready; exec {TOOL} generate {bench.p} {flows} {RATE} {SECONDS + 1} {BURST}",
                         core=GENERATOR_CORE)
        time.sleep(0.5)
        count, busy, threads = held[0].count(), busy_seconds(), thread_seconds(workers)
        time.sleep(SECONDS)
        packets, cpu, thread_cpu = held[0].count() - count, busy_seconds() - busy, thread_seconds(workers) - threads
        sent, refused = map(int, generator.process.stdout.readline().split())
        generator.close()
        time.sleep(0.2)
        loss = 1 - held[0].count() / (sent + refused)
        if not packets:
            raise RuntimeError(f"{name}: nothing arrived")
        return cpu * 1e9 / packets, thread_cpu * 1e9 / packets, loss, foreign
    finally:
        for each in reversed(held):
            each.close()


def main():
    if os.geteuid() != 0:
        raise SystemExit("needs root: namespaces and BPF programs")
    if os.cpu_count() < 2:
        raise SystemExit("needs two cores: one generates, one is measured")
    with tempfile.TemporaryDirectory() as directory, Bench(directory) as bench:
        ports = None
        try:
            ports = bench.start_rtpengine()
        except (OSError, subprocess.CalledProcessError) as error:
            print(f"without rtpengine: {getattr(error, 'stderr', None) or error}")
        table = rows(bench, ports)
        results = {row[0]: [] for row in table}
        for number in range(ROUNDS):
            for row in table:
                results[row[0]].append(measure(bench, row))
                print(f"\rround {number + 1} of {ROUNDS}: {row[0]:32}", end="", file=sys.stderr, flush=True)
        print(file=sys.stderr)
    report(table, results, ports)


def report(table, results, ports):
    print(f"{STREAMS} streams, {RATE} packets/s in bursts of {BURST}, {ROUNDS} rounds of {SECONDS:g} s, medians, ns/packet")
    print(f"{'':32}{'core':>7}{'net':>7}{'/ bare':>8}{'thread':>10}{'net':>7}{'/ bare':>8}{'loss':>9}{'foreign':>9}")
    medians = {name: [statistics.median(each[column] for each in values) for column in (0, 1)]
               for name, values in results.items()}
    for name, family, *_ in table:
        base = medians["base, native XDP (sink only)" if family == "xdp" else "base, TC (sink only)"]
        floor = medians["bare redirect, native XDP" if family == "xdp" else "bare redirect, TC"]
        line = f"{name:32}"
        for column, width in ((0, 7), (1, 10)):
            value = medians[name][column]
            line += f"{value:>{width}.0f}"
            line += f"{'':15}" if name.startswith("base") else f"{value - base[column]:>7.0f}{value / floor[column]:>8.2f}"
        print(line + f"{max(each[2] for each in results[name]):>9.3%}{max(each[3] for each in results[name]):>9.0%}")
    if ports:
        peer = medians["rtpengine, user space"]
        for own in ("Cresset, native XDP", "Cresset, TC"):
            print(f"rtpengine costs {peer[0] / medians[own][0]:.1f} (core), {peer[1] / medians[own][1]:.1f} (thread) "
                  f"times {own}")


if "--calls" in sys.argv:
    make_calls()
else:
    main()
