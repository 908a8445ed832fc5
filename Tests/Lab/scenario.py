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


def ok(body="", extra=()):
    """200 inside a dialog: the To already carries our tag."""
    return reply(200, "OK", body, ["Contact: <sip:[local_ip]:[local_port];transport=[transport]>", *extra],
                 tagged=False)


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

    def call_or_cancel(self):
        """The same, but the caller may give up before the answer."""
        return [self.invited(), *self.progress_cancellable(), self.accept(), receive("BYE"), ok(),
                jump("end"), label("cancelled"), *self.cancelled(), label("end")]

    def cancelled(self):
        return [ok(), send("SIP/2.0 487 Request Terminated", [
            *ECHOED, "[last_To:];tag=[pid]s[call_number]", "[last_Call-ID:]", "CSeq: [$invite_cseq] INVITE"],
            retrans=500), receive("ACK")]

    def rejecting(self, code, reason, extra=()):
        return [self.invited(), reply(code, reason, "", extra, retrans=500), receive("ACK")]

    def hanging_up(self, hold):
        """Answers, holds, and hangs up itself: To and From change sides."""
        remember = ('<ereg regexp=".*" search_in="hdr" header="From:" assign_to="them"/>'
                    '<ereg regexp=".*" search_in="hdr" header="To:" assign_to="us"/>')
        accept = self.accept()
        accept[1] = receive("ACK", rtd="true", actions=remember)
        return [self.invited(), self.progress(), accept, pause(hold),
                send("BYE [next_url] SIP/2.0", [
                    "Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]", "[routes]",
                    "Max-Forwards: 70", "From:[$us]", "To:[$them]", "Call-ID: [call_id]", "CSeq: 1 BYE"]),
                receive(200)]


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
