"""`make flood`: forged REGISTERs from many sources at the phones' SIP port while calls with speech run.

Prints what was lost, how soon known stations and the carrier were answered, the daemon's memory and the shield's
counters; exits 1 when speech was lost, an answer took longer than 200 ms or failed to come, or memory grew. The load
stays inside the lab's namespaces, and is short. Where there are two cores the generator has one, and the kernel of the
box works there, too: what is reached is printed beside what was asked for.
"""

import argparse
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time

import namespaces
from daemon import LAN_BOX, REPOSITORY, WAN_BOX
from lab import Lab, say, stop_on_signals
from namespaces import CARRIERS, PHONES

ANSWER_MAX = 0.200  # seconds
# kB. What the shield lets through of unknown sources is answered, and each answer is kept for 32 s (RFC 3261 timer J):
# that is bounded by shield.unknown-rate, and it is all that may grow.
MEMORY_GROWTH_MAX = 12_288


class Party(threading.Thread):
    """A SIP user agent of few words at one address: sends requests, answers those that come."""

    def __init__(self, namespace, address, box):
        super().__init__(daemon=True)
        with namespace.entered():
            self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((address, 5060))
        self.socket.settimeout(0.2)
        self.address, self.box = address, box
        self.answers, self.ports, self.running = {}, {}, True
        self.news = threading.Condition()
        self.start()

    def run(self):
        while self.running:
            try:
                text, source = self.socket.recvfrom(65536)
            except TimeoutError:
                continue
            text = text.decode(errors="replace")
            call = re.search(r"\r\nCall-ID: *(\S+)", text, re.I).group(1)
            if text.startswith("SIP/2.0 "):
                status = int(text[8:11])
                if status >= 200:
                    with self.news:
                        self.answers[call + re.search(r"\r\nCSeq: *(.*?)\r\n", text, re.I).group(1)] = (time.monotonic(), text)
                        self.news.notify_all()
            elif not text.startswith("ACK "):
                self.answer(text, source)

    def answer(self, request, source):
        kept = re.findall(r"\r\n((?:Via|v|From|f|To|t|Call-ID|i|CSeq|Record-Route): *[^\r]*)", request, re.I)
        kept = [line + (";tag=carrier" if re.match(r"to|t:", line, re.I) and ";tag=" not in line else "") for line in kept]
        body = ""
        if request.startswith("INVITE "):
            number = int(re.search(r"\r\nFrom:[^\r]*", request) and re.search(r"INVITE sip:\+1313555(\d{4})", request).group(1))
            body = description(self.address, 40000 + 2 * number)
            self.ports[number] = int(re.search(r"m=audio (\d+)", request).group(1))
        self.send(["SIP/2.0 200 OK", *kept, f"Contact: <sip:{self.address}:5060>"], body, source)

    def send(self, lines, body, to):
        if body:
            lines.append("Content-Type: application/sdp")
        lines += [f"Content-Length: {len(body)}", "", ""]
        self.socket.sendto(("\r\n".join(lines) + body).encode(), to)

    def request(self, method, user, call, number=1, to_tag="", body="", branch=None):
        """Sends a request; returns the key its final answer will have."""
        uri = f"sip:{user}@{self.box}" if user else f"sip:{self.box}"
        self.send([f"{method} {uri} SIP/2.0",
                   f"Via: SIP/2.0/UDP {self.address}:5060;branch=z9hG4bK{branch or call}{method}{number}",
                   f"From: <sip:2001@branch.example>;tag=x{call}", f"To: <{uri}>{to_tag}",
                   f"Call-ID: {call}", f"CSeq: {number} {method}", "Max-Forwards: 70",
                   f"Contact: <sip:2001@{self.address}:5060>"], body, (self.box, 5060))
        return f"{call}{number} {method}"

    def await_answer(self, key, timeout):
        with self.news:
            self.news.wait_for(lambda: key in self.answers, timeout)
            return self.answers.get(key)

    def probe(self, name, interval, until, delays):
        """OPTIONS again and again; how long each answer took, None where none came within two seconds."""
        number = 0
        while time.monotonic() < until:
            number += 1
            sent = time.monotonic()
            answer = self.await_answer(self.request("OPTIONS", "", f"probe-{name.replace(' ', '-')}-{number}"), 2)
            delays.append(answer and answer[0] - sent)
            time.sleep(max(0, sent + interval - time.monotonic()))


def description(address, port):
    return (f"v=0\r\no=- 1 1 IN IP4 {address}\r\ns=-\r\nc=IN IP4 {address}\r\nt=0 0\r\nm=audio {port} RTP/AVP 0\r\n"
            "a=rtpmap:0 PCMU/8000\r\n")


def compiled(directory):
    program = os.path.join(directory, "flood")
    compiler = os.path.join(os.path.dirname(os.environ.get("SWIFT") or "/opt/swift/usr/bin/swift"), "clang")
    subprocess.run([compiler if os.path.exists(compiler) else "clang", "-O2", "-o", program,
                    os.path.join(REPOSITORY, "Tests", "Lab", "flood.c")], check=True)
    return program


def set_up(phone, carrier, count):
    """`count` calls; the streams of both ends as `media` reads them."""
    streams = ([], [])
    for number in range(count):
        call, user = f"call{number}", f"9555{number:04}"
        key = phone.request("INVITE", user, call, body=description(phone.address, 20000 + 2 * number))
        answer = phone.await_answer(key, 5)
        if not answer or not answer[1].startswith("SIP/2.0 200"):
            raise RuntimeError(f"call {number} was not answered: {answer and answer[1].splitlines()[0]}")
        tag = re.search(r"\r\nTo:[^\r]*(;tag=[^;\r]*)", answer[1], re.I).group(1)
        phone.request("ACK", user, call, to_tag=tag, branch=f"{call}ack")
        port = int(re.search(r"m=audio (\d+)", answer[1]).group(1))
        streams[0].append(f"{phone.address} {20000 + 2 * number} {LAN_BOX} {port}")
        streams[1].append(f"{carrier.address} {40000 + 2 * number} {WAN_BOX} {carrier.ports[number]}")
    return streams


def median(values):
    return sorted(values)[len(values) // 2]


def judge(name, delays):
    answered = [delay for delay in delays if delay is not None]
    if not answered:
        print(f"{name:28} no answer at all")
        return False
    late = len(delays) - sum(delay <= ANSWER_MAX for delay in answered)
    print(f"{name:28} {len(delays)} asked, {len(delays) - len(answered)} unanswered, median {1000 * median(answered):.1f} ms, "
          f"longest {1000 * max(answered):.1f} ms{'' if late == 0 else f', {late} later than 200 ms'}")
    return late == 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=int, default=300_000, help="packets per second (300000)")
    parser.add_argument("--seconds", type=int, default=10, help="how long the flood lasts, at most 30 (10)")
    parser.add_argument("--sources", type=int, default=10_000)
    parser.add_argument("--calls", type=int, default=100)
    parser.add_argument("--side", choices=("lan", "wan"), default="lan", help="where the flood comes from")
    parser.add_argument("--without-shield", action="store_true", help="for comparison")
    options = parser.parse_args()
    options.seconds = min(options.seconds, 30)
    reason = namespaces.missing_requirements()
    if reason:
        print(f"skipped: {reason}")
        return 0 if os.geteuid() != 0 else 1
    stop_on_signals()
    shield = "[shield]\n" + ("enabled = false\n" if options.without_shield else "silent = true\n")
    with Lab(registration=False, health_interval=None, trunk_b=False, calls_max=max(120, options.calls),
             extra={"shield.toml": shield}) as lab:
        program = compiled(lab.directory)
        lab.register("2001")
        phone = Party(lab.network.phones, PHONES[0], LAN_BOX)
        carrier = Party(lab.network.carrier, CARRIERS[0], WAN_BOX)
        say(f"setting up {options.calls} calls")
        streams = set_up(phone, carrier, options.calls)
        spread = options.seconds + 4
        ends = []
        for namespace, lines in zip((lab.network.phones, lab.network.carrier), streams):
            process = namespace.start(program, "media", spread, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            process.stdin.write("\n".join(lines) + "\n")
            process.stdin.close()
            ends.append(process)
        time.sleep(1)
        quiet = []
        phone.probe("quiet", 0.02, time.monotonic() + 1, quiet)
        before, memory, cpu = lab.daemon.status()["counters"], lab.daemon.memory(), lab.daemon.cpu_seconds()

        flooded = lab.network.phones if options.side == "lan" else lab.network.carrier
        interface, box, box_link = ("lan", LAN_BOX, "lan0") if options.side == "lan" else ("wan", WAN_BOX, "wan0")
        mac = lambda namespace, link: json.loads(namespace.ip("-j", "link", "show", link))[0]["address"]
        pin = ["taskset", "-c", str(os.cpu_count() - 1)] if os.cpu_count() > 1 else []
        say(f"flood: {options.rate} packets/s from {options.sources} sources for {options.seconds} s on {interface}")
        flood = flooded.start(*pin, program, "flood", interface, mac(lab.network.box, box_link), mac(flooded, interface),
                              box, options.rate, options.seconds, options.sources, stdout=subprocess.PIPE, text=True)
        until = time.monotonic() + options.seconds
        delays = {"known station": [], "carrier": []}
        probes = [threading.Thread(target=party.probe, args=(name, 0.05, until, delays[name]))
                  for name, party in (("known station", phone), ("carrier", carrier))]
        for probe in probes:
            probe.start()
        for probe in probes:
            probe.join()
        generated = json.loads(flood.communicate(timeout=20)[0])
        after, grown, spent = lab.daemon.status()["counters"], lab.daemon.memory(), lab.daemon.cpu_seconds()
        heard = [json.loads(end.stdout.read()) for end in ends]
        for end in ends:
            end.wait()
        active = lab.daemon.status()["calls"]["active"]
        for party in (phone, carrier):
            party.running = False

    reached = generated["sent"] / generated["seconds"]
    print(f"\n{'flood':28} {generated['sent']} packets in {generated['seconds']:.1f} s: {reached:.0f} packets/s"
          f" of {options.rate} asked for; {generated['refused']} refused by the veth")
    good = True
    for name, sender, receiver in (("speech, phones to carrier", heard[0], heard[1]),
                                   ("speech, carrier to phones", heard[1], heard[0])):
        lost = sender["sent"] - receiver["received"]
        good &= lost == 0 and receiver["repeated"] == 0 and receiver["foreign"] == 0 and sender["sent"] > 0
        print(f"{name:28} {sender['sent']} sent, {lost} lost, {receiver['repeated']} doubled, {receiver['foreign']} foreign;"
              f" the sender was up to {sender['late_ms']} ms late")
    good &= active == options.calls
    print(f"{'calls still up':28} {active} of {options.calls}")
    judge("before, known station", quiet)
    for name, values in delays.items():
        good &= judge(f"during, {name}", values)
    growth = grown["Rss"] - memory["Rss"]
    good &= growth <= MEMORY_GROWTH_MAX
    print(f"{'memory of cressetd':28} {memory['Rss']} kB before, {grown['Rss']} kB after ({growth:+} kB);"
          f" {spent - cpu:.2f} s of processor")
    for name in sorted(after):
        if name.startswith(("shield-", "sip-messages-received", "challenges")) and after[name] != before.get(name, 0):
            print(f"{name:28} {after[name] - before.get(name, 0)}")
    if reached < 0.95 * options.rate:
        print("the generator did not reach the rate asked for; the verdict is on what it reached")
    print("passed" if good else "FAILED")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
