"""SIPp scenarios, written step by step.

A scenario is a list of steps; each function below returns one or several. `xml()` makes the file SIPp reads.
Words in [square brackets] are SIPp's: it fills them in for each call.
"""

from dataclasses import dataclass, field
from xml.sax.saxutils import quoteattr

SDP_AUDIO = """v=0
o=- 1 {version} IN IP[media_ip_type] [media_ip]
s=-
c=IN IP[media_ip_type] [media_ip]
t=0 0
m=audio {port} RTP/AVP {formats}
{lines}"""


def sdp(port="[rtpstream_audio_port]", version=1, formats="0 101", direction="sendrecv", telephone_event=101):
    lines = ["a=rtpmap:0 PCMU/8000", f"a=rtpmap:{telephone_event} telephone-event/8000",
             f"a=fmtp:{telephone_event} 0-15", "a=ptime:20", f"a={direction}"]
    return SDP_AUDIO.format(port=port, version=version, formats=formats, lines="\n".join(lines))


def attributes(values):
    return "".join(f" {name.replace('_', '-') if name == 'crlf' else name}={quoteattr(str(value))}"
                   for name, value in values.items() if value is not None)


def send(start_line, headers, body="", retrans=500, content_type="application/sdp", lost=None, next=None):
    """A message. `headers` is text or a list of lines; Content-Length is added."""
    if isinstance(headers, str):
        headers = headers.strip().splitlines()
    lines = [start_line, *(line.strip() for line in headers if line.strip())]
    if body:
        lines.append(f"Content-Type: {content_type}")
    lines.append("Content-Length: [len]")
    text = "\n".join(lines) + "\n\n" + body.strip() + ("\n" if body else "")
    return f"<send{attributes({'retrans': retrans, 'lost': lost, 'next': next})}><![CDATA[\n{text}\n]]></send>"


def receive(code_or_method, optional=False, actions="", **options):
    what = "response" if isinstance(code_or_method, int) else "request"
    values = {what: code_or_method, "optional": "true" if optional else None, **options}
    inside = f"<action>{actions}</action>" if actions else ""
    return f"<recv{attributes(values)}>{inside}</recv>"


def pause(milliseconds):
    return f'<pause milliseconds="{int(milliseconds)}"/>'


def random_pause(low, high):
    return f'<pause distribution="uniform" min="{int(low)}" max="{int(high)}"/>'


def action(text):
    return f"<nop><action>{text}</action></nop>"


def label(name):
    return f'<label id="{name}"/>'


def jump(name):
    """Goes to `name`: a step that does nothing carries SIPp's `next`."""
    return f'<nop next="{name}"/>'


def choose(prefix, count):
    """Goes to one of the labels prefix0 … prefix(count-1), each with the same chance."""
    return [f'<nop next="{prefix}{index}"{attributes({"chance": round(1 / (count - index), 4)})}/>'
            if index < count - 1 else jump(f"{prefix}{index}") for index in range(count)]


def play(audio):
    """Starts the RTP of this call: `audio` is played once and ends by itself."""
    return action(f'<exec rtp_stream="{audio},1,0"/>') if audio else ""


def linger(milliseconds=4000):
    """Stays to answer repeated requests, as RFC 3261 §17.2 asks of a UAS."""
    return f'<timewait milliseconds="{int(milliseconds)}"/>'


def xml(name, steps):
    def flatten(items):
        for item in items:
            if isinstance(item, (list, tuple)):
                yield from flatten(item)
            elif item:
                yield item
    body = "\n".join(flatten(steps))
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE scenario SYSTEM "sipp.dtd">\n' \
           f'<scenario name={quoteattr(name)}>\n{body}\n</scenario>\n'


# The caller -------------------------------------------------------------------------------------------------------

@dataclass
class Caller:
    """One who calls. `user` and `password` are a station's; a carrier has no password and is not challenged."""
    user: str
    called: str
    domain: str = "branch.example"
    password: str | None = None
    audio: str | None = None
    hold: object = 1000  # milliseconds, or (low, high)
    extra: list = field(default_factory=list)  # header lines of the INVITE
    offer: str | None = field(default_factory=sdp)  # None: late offer
    from_domain: str | None = None

    def identity(self):
        return f"<sip:{self.user}@{self.from_domain or self.domain}>;tag=[pid]c[call_number]"

    def invite(self, sequence, authorised=False):
        headers = [
            "Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch];rport",
            "Max-Forwards: 70",
            f"From: {self.identity()}",
            f"To: <sip:{self.called}@{self.domain}>",
            "Call-ID: [call_id]",
            f"CSeq: {sequence} INVITE",
            f"Contact: <sip:{self.user}@[local_ip]:[local_port];transport=[transport]>",
            "Allow: INVITE, ACK, BYE, CANCEL, OPTIONS, UPDATE, PRACK",
            "User-Agent: lab-phone",
            *self.extra,
        ]
        if authorised:
            headers.append(f"[authentication username={self.user} password={self.password}]")
        return send(f"INVITE sip:{self.called}@{self.domain} SIP/2.0", headers, self.offer or "")

    def refuse_acknowledgement(self, sequence):
        """The ACK of a rejection goes hop by hop, with the branch of its INVITE (RFC 3261 §17.1.1.3)."""
        return send(f"ACK sip:{self.called}@{self.domain} SIP/2.0", [
            "[last_Via:]", "Max-Forwards: 70", f"From: {self.identity()}", "[last_To:]", "Call-ID: [call_id]",
            f"CSeq: {sequence} ACK"], retrans=None)

    def start(self):
        """The INVITE, and a second one with credentials where we have a password."""
        if self.password is None:
            return [self.invite(1)]
        return [self.invite(1), receive(100, optional=True),
                receive(401, optional=True, auth="true", next="challenged"),
                receive(407, auth="true", next="challenged"),
                label("challenged"), self.refuse_acknowledgement(1), self.invite(2, authorised=True)]

    @property
    def sequence(self):
        return 1 if self.password is None else 2

    def request(self, method, sequence, body="", retrans=500, extra=()):
        """A request inside the dialog, after an answer received with rrs."""
        return send(f"{method} [next_url] SIP/2.0", [
            "Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch];rport", "[routes]", "Max-Forwards: 70",
            f"From: {self.identity()}", "To: <sip:%s@%s>[peer_tag_param]" % (self.called, self.domain),
            "Call-ID: [call_id]", f"CSeq: {sequence} {method}",
            f"Contact: <sip:{self.user}@[local_ip]:[local_port];transport=[transport]>", *extra],
            body, retrans=retrans)

    def cancel(self):
        """[branch-N] would count steps: the Via of the provisional response carries the same branch."""
        return send(f"CANCEL sip:{self.called}@{self.domain} SIP/2.0", [
            "[last_Via:]", "Max-Forwards: 70", f"From: {self.identity()}",
            f"To: <sip:{self.called}@{self.domain}>", "Call-ID: [call_id]", f"CSeq: {self.sequence} CANCEL"])

    def provisional(self):
        return [receive(code, optional=True) for code in (100, 180, 181, 183)]

    def answered(self, body=""):
        return [*self.provisional(), receive(200, rrs="true", rtd="true"),
                self.request("ACK", self.sequence, body, retrans=None), play(self.audio)]

    def wait(self):
        return random_pause(*self.hold) if isinstance(self.hold, tuple) else pause(self.hold)

    def hang_up(self, sequence=None):
        return [self.request("BYE", sequence or self.sequence + 1), receive(200)]

    def await_hang_up(self):
        return [receive("BYE"), ok(), linger()]

    def call(self):
        """The ordinary call: answered, held, ended by the caller."""
        return [self.start(), self.answered(), self.wait(), self.hang_up()]

    def reinvite(self, sequence, body):
        return [self.request("INVITE", sequence, body), receive(100, optional=True), receive(200, rrs="true"),
                self.request("ACK", sequence, retrans=None)]

    def hold_and_resume(self, milliseconds=500):
        """Hold by sendonly and resume by sendrecv (RFC 3264 §8.4)."""
        first = self.sequence
        return [self.start(), self.answered(), pause(milliseconds),
                self.reinvite(first + 1, sdp(version=2, direction="sendonly")), pause(milliseconds),
                self.reinvite(first + 2, sdp(version=3)), self.wait(), self.hang_up(first + 3)]

    def cancelled(self, milliseconds=300):
        """Gives up while it rings."""
        return [self.start(), receive(100, optional=True), receive(183, optional=True), receive(180),
                pause(milliseconds), self.cancel(), receive(200), receive(487),
                self.refuse_acknowledgement(self.sequence)]

    def random_call(self, cancels=(140, 400, 800), holds=(1000, 2500, 4000, 7000, 10000), cancel_share=0.15):
        """Random hold, CANCEL and BYE timing. Moments of the two sides lie 100 ms apart: SIPp aborts a call whose message
        comes in the instant it leaves a `recv`. Exact crossings are tested in the engines, in virtual time."""
        number = self.sequence
        answered_to_cancel = '<ereg regexp="INVITE" search_in="hdr" header="CSeq:" assign_to="late"/>'
        steps = [self.start(), receive(100, optional=True), receive(183, optional=True), receive(180),
                 f'<nop next="giveup" chance="{cancel_share}"/>',
                 receive(200, rrs="true", rtd="true"),
                 label("answered"), self.request("ACK", number, retrans=None), play(self.audio), choose("hold", len(holds))]
        for index, hold in enumerate(holds):
            steps += [label(f"hold{index}"),
                      receive("BYE", timeout=hold, ontimeout="hangup", next="theirs")]
        steps += [label("giveup"), choose("cancel", len(cancels))]
        for index, moment in enumerate(cancels):
            steps += [label(f"cancel{index}"),
                      receive(200, rrs="true", timeout=moment, ontimeout="cancel", next="answered")]
        steps += [label("cancel"), self.cancel(),
                  receive(481, optional=True, next="toolate"),
                  receive(487, optional=True, next="gone"),
                  receive(200, rrs="true", actions=answered_to_cancel, test="late", next="crossed"),
                  receive(487, optional=True, next="gone"),
                  # The answer crossed the CANCEL: it stands, and is ended (RFC 3261 §9.1).
                  receive(200, rrs="true", next="overtaken"),
                  label("crossed"), receive(481, optional=True, next="overtaken"), receive(200, next="overtaken"),
                  label("toolate"), receive(200, rrs="true"),
                  label("overtaken"), self.request("ACK", number, retrans=None),
                  label("hangup"), self.request("BYE", number + 1),
                  receive("BYE", optional=True, next="both"), receive(481, optional=True, next="end"),
                  receive(200, next="end"),
                  label("both"), ok(), receive(481, optional=True, next="end"), receive(200, next="end"),
                  label("theirs"), ok(), jump("end"),
                  label("gone"), self.refuse_acknowledgement(number),
                  label("end"), linger(1500)]
        return steps

    def rejected(self, *codes):
        """A call that ends with one of `codes`."""
        steps = [self.start(), *self.provisional()]
        steps += [receive(code, optional=True, next="rejected") for code in codes[:-1]]
        return [*steps, receive(codes[-1]), label("rejected"), self.refuse_acknowledgement(self.sequence)]


# The called -------------------------------------------------------------------------------------------------------

ECHOED = ["[last_Via:]", "[last_Record-Route:]", "[last_From:]"]


def reply(code, reason, body="", extra=(), retrans=None, tagged=True, next=None):
    to = "[last_To:];tag=[pid]s[call_number]" if tagged else "[last_To:]"
    return send(f"SIP/2.0 {code} {reason}", [*ECHOED, to, "[last_Call-ID:]", "[last_CSeq:]", *extra], body,
                retrans=retrans, next=next)


def ok(body="", extra=(), retrans=None):
    """200 inside a dialog: the To already carries our tag. With `retrans` it answers an INVITE."""
    return reply(200, "OK", body, ["Contact: <sip:[local_ip]:[local_port];transport=[transport]>", *extra],
                 tagged=False, retrans=retrans)


@dataclass
class Called:
    """One who is called."""
    audio: str | None = None
    ring: tuple = (180,)  # provisional responses, in order; 183 carries SDP
    ring_time: object = 200  # milliseconds between ringing and answer, or (low, high)
    answer: str | None = field(default_factory=lambda: sdp(formats="0 101"))
    extra: list = field(default_factory=list)

    contact = "Contact: <sip:[local_ip]:[local_port];transport=[transport]>"

    def progress(self):
        steps = []
        reasons = {100: "Trying", 180: "Ringing", 181: "Call Is Being Forwarded", 183: "Session Progress"}
        for code in self.ring:
            steps.append(reply(code, reasons[code], self.answer if code == 183 else "",
                               [self.contact] if code != 100 else [], tagged=code != 100))
            if isinstance(self.ring_time, tuple):
                steps.append(random_pause(*self.ring_time))
            elif self.ring_time:
                steps.append(pause(self.ring_time))
        return steps

    def accept(self):
        return [reply(200, "OK", self.answer, [self.contact, "Allow: INVITE, ACK, BYE, CANCEL, OPTIONS, UPDATE",
                                               "Server: lab-carrier", *self.extra], retrans=500),
                receive("ACK", rtd="true", crlf="true"), play(self.audio)]

    def invited(self):
        return receive("INVITE", rrs="true")

    def call(self):
        """Rings, answers, and waits for the other side to hang up."""
        return [self.invited(), self.progress(), self.accept(), receive("BYE"), ok()]

    def call_despite_loss(self):
        """As `call`, but a BYE may overtake the repetition of a lost ACK."""
        answer, ack, speech = self.accept()
        return [self.invited(), self.progress(), answer,
                receive("BYE", optional=True, next="ended"), ack, speech,
                receive("BYE"), label("ended"), ok()]

    def call_or_cancel(self):
        """The same, but the caller may give up before the answer."""
        return [self.invited(), *self.progress_cancellable(), label("accept"), self.accept(), receive("BYE"), ok(),
                jump("end"), label("cancelled"), *self.cancelled(), label("end")]

    def progress_cancellable(self):
        """A pause would not hear the CANCEL: SIPp waits for it, and goes on when it does not come in time."""
        steps = self.progress_without_pause()
        wait = self.ring_time[1] if isinstance(self.ring_time, tuple) else self.ring_time
        number = '<ereg regexp="[0-9]+" search_in="hdr" header="CSeq:" assign_to="number"/>'
        return [*steps, receive("CANCEL", timeout=max(1, wait), ontimeout="accept", next="cancelled", actions=number)]

    def progress_without_pause(self):
        ring_time, self.ring_time = self.ring_time, 0
        try:
            return self.progress()
        finally:
            self.ring_time = ring_time

    def cancelled(self):
        """The 487 needs the INVITE's headers again: CANCEL has the same Via, From, To and number (RFC 3261 §9.1)."""
        return [reply(200, "OK"),
                send("SIP/2.0 487 Request Terminated", [
                    *ECHOED, "[last_To:];tag=[pid]s[call_number]", "[last_Call-ID:]", "CSeq: [$number] INVITE"],
                    retrans=500), receive("ACK")]

    def rejecting(self, code, reason, extra=()):
        return [self.invited(), reply(code, reason, "", extra, retrans=500), receive("ACK")]

    def hanging_up(self, hold):
        """Answers, holds, and hangs up itself."""
        return [self.invited(), self.progress(), self.accept_remembering(), pause(hold), self.bye(), receive(200)]

    def accept_remembering(self):
        """As `accept`; keeps From and To, which change sides in our own requests."""
        remember = ('<ereg regexp=".*" search_in="hdr" header="From:" assign_to="them"/>'
                    '<ereg regexp=".*" search_in="hdr" header="To:" assign_to="us"/>')
        accept = self.accept()
        accept[1] = receive("ACK", rtd="true", actions=remember)
        return accept

    def bye(self):
        return send("BYE [next_url] SIP/2.0", [
            "Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]", "[routes]", "Max-Forwards: 70",
            "From:[$us]", "To:[$them]", "Call-ID: [call_id]", "CSeq: 1 BYE"])

    def held_and_resumed(self):
        return [self.invited(), self.progress(), self.accept(),
                receive("INVITE"), ok(sdp(version=2, direction="recvonly"), retrans=500), receive("ACK"),
                receive("INVITE"), ok(sdp(version=3), retrans=500), receive("ACK"),
                receive("BYE"), ok()]

    def random_call(self, rings=(40, 260, 600, 1100), holds=(1500, 3000, 5000, 9000)):
        """The other half of Caller.random_call."""
        number = '<ereg regexp="[0-9]+" search_in="hdr" header="CSeq:" assign_to="number"/>'
        steps = [self.invited(), *self.progress_without_pause(), choose("ring", len(rings))]
        for index, ring in enumerate(rings):
            steps += [label(f"ring{index}"),
                      receive("CANCEL", timeout=ring, ontimeout="accept", next="cancelled", actions=number)]
        answer, ack, speech = self.accept_remembering()
        steps += [label("accept"), answer,
                  receive("CANCEL", optional=True, next="toolate"), ack.replace("<recv", '<recv next="talk"', 1),
                  label("toolate"), reply(200, "OK", tagged=True), ack,  # crossed with our answer, which stands
                  label("talk"), speech, choose("hold", len(holds))]
        for index, hold in enumerate(holds):
            steps += [label(f"hold{index}"), receive("BYE", timeout=hold, ontimeout="hangup", next="theirs")]
        return [*steps, label("hangup"), self.bye(), receive("BYE", optional=True, next="both"),
                receive(481, optional=True, next="end"), receive(200, next="end"),
                label("both"), ok(), receive(481, optional=True, next="end"), receive(200, next="end"),
                label("theirs"), ok(), jump("end"),
                label("cancelled"), *self.cancelled(), label("end")]


# Registration -----------------------------------------------------------------------------------------------------

def register(user, password, domain, contact, expires=3600):
    """A station registers with digest, once."""
    def request(sequence, authorised):
        headers = [
            "Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch];rport", "Max-Forwards: 70",
            f"From: <sip:{user}@{domain}>;tag=[pid]r[call_number]", f"To: <sip:{user}@{domain}>",
            "Call-ID: [call_id]", f"CSeq: {sequence} REGISTER", f"Contact: <{contact}>", f"Expires: {expires}",
        ]
        if authorised:
            headers.append(f"[authentication username={user} password={password}]")
        return send(f"REGISTER sip:{domain} SIP/2.0", headers)
    return [request(1, False), receive(100, optional=True), receive(401, auth="true"), request(2, True),
            receive(100, optional=True), receive(200)]


def as_carrier(steps, username=None, password=None):
    """A carrier's port answers three things: REGISTER (challenged when we know a user), OPTIONS and calls."""
    tagged = "[last_To:];tag=[pid]s[call_number]"
    challenge = 'WWW-Authenticate: Digest realm="carrier.example", nonce="[pid][call_number]f00d", qop="auth", ' \
                'algorithm=MD5'
    def plain(code, reason, *extra, next=None):
        return send(f"SIP/2.0 {code} {reason}",
                    ["[last_Via:]", "[last_From:]", tagged, "[last_Call-ID:]", "[last_CSeq:]", *extra],
                    retrans=None, next=next)
    register_steps = [label("register")]
    if username:
        verify = f'<verifyauth assign_to="valid" username={quoteattr(username)} password={quoteattr(password)}/>'
        register_steps += [
            plain(401, "Unauthorized", challenge),
            receive("REGISTER", actions=verify),
            '<nop test="valid" next="registered"/>',
            plain(403, "Forbidden", next="done"),
            label("registered")]
    register_steps += [plain(200, "OK", "[last_Contact:]", "Expires: 3600", next="done")]
    return [receive("REGISTER", optional=True, next="register"),
            receive("OPTIONS", optional=True, next="options"),
            *steps, jump("done"),
            *register_steps,
            label("options"), plain(200, "OK", "Accept: application/sdp"),
            label("done"), linger()]
