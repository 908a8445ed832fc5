"""A mail server (STARTTLS and a password required) and a web server (TLS) that write down what they get, a JSON line each.

receivers.py ADDRESS SMTP-PORT HTTP-PORT DIRECTORY-OF-CERTIFICATES LOG"""

import email
import http.server
import json
import ssl
import sys
import threading

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

address, smtp_port, http_port, directory, log = sys.argv[1:]
lock = threading.Lock()
tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
tls.load_cert_chain(f"{directory}/server.pem", f"{directory}/server.key")


def write(**entry):
    with lock, open(log, "a") as file:
        file.write(json.dumps(entry) + "\n")


class Mail:
    async def handle_DATA(self, server, session, envelope):
        message = email.message_from_bytes(envelope.content)
        write(kind="mail", tls=session.ssl is not None, user=session.auth_data, sender=envelope.mail_from,
              to=envelope.rcpt_tos, subject=message["Subject"], id=message["Message-ID"],
              body=message.get_payload(decode=True).decode())
        return "250 taken"


def authenticate(server, session, envelope, mechanism, data):
    good = isinstance(data, LoginPassword) and data.password == b"lighthouse-and-tide"
    return AuthResult(success=good, auth_data=data.login.decode() if good else None)


class MailServer(Controller):
    def factory(self):
        return SMTP(self.handler, hostname="receiver", tls_context=tls, require_starttls=True, auth_required=True,
                    authenticator=authenticate)


class Web(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        write(kind="post", path=self.path, headers={name.lower(): value for name, value in self.headers.items()}, body=body)
        self.send_response(202)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *arguments):
        pass


MailServer(Mail(), hostname=address, port=int(smtp_port)).start()
web = http.server.ThreadingHTTPServer((address, int(http_port)), Web)
web.socket = tls.wrap_socket(web.socket, server_side=True)
print("ready", flush=True)
web.serve_forever()
