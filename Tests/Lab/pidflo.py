"""What others than we make of a location in a SIP message: Python's `email` takes the multipart body apart, libxml2
checks each PIDF-LO against the schemas of RFC 3863, 4119, 4479 and 5139.

As a script: checks the messages in the files named, or standard input.
"""

import email
import email.policy
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as etree
from typing import NamedTuple

SCHEMAS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "schemas")
SPACES = {"pidf": "urn:ietf:params:xml:ns:pidf", "dm": "urn:ietf:params:xml:ns:pidf:data-model",
          "gp": "urn:ietf:params:xml:ns:pidf:geopriv10", "gbp": "urn:ietf:params:xml:ns:pidf:geopriv10:basicPolicy",
          "ca": "urn:ietf:params:xml:ns:pidf:geopriv10:civicAddr"}


class Problem(AssertionError):
    """The message is not what the RFCs say."""


class Location(NamedTuple):
    """One PIDF-LO of a message."""
    content_id: str
    elements: dict  # civic, by name
    order: list
    document: etree.Element


class Message(NamedTuple):
    start: str
    headers: dict  # lower-case names, lists of values
    types: list  # of the parts
    geolocation: list  # values
    locations: list


def validate(document):
    """What xmllint has against it; nothing when it is valid."""
    run = subprocess.run(["xmllint", "--noout", "--nonet", "--schema", os.path.join(SCHEMAS, "pidf-lo.xsd"), "-"],
                         input=document, capture_output=True)
    return run.stderr.decode() if run.returncode else ""


def check(message):
    """Everything that can be checked in one message with locations; raises Problem."""
    head, separator, body = message.partition(b"\r\n\r\n")
    lines = re.sub(r"\r\n[ \t]+", " ", head.decode()).split("\r\n")
    headers = {}
    for line in lines[1:]:
        name, _, value = line.partition(":")
        headers.setdefault(name.strip().lower(), []).append(value.strip())
    if not separator:
        raise Problem("no empty line behind the headers")
    length = int(headers.get("content-length", headers.get("l", ["-1"]))[0])
    if length != len(body):
        raise Problem(f"Content-Length says {length}, the body has {len(body)} bytes")
    if b"\n" in body.replace(b"\r\n", b""):
        raise Problem("a line of the body ends without CR")
    content_type = headers.get("content-type", headers.get("c", [""]))[0]
    mime = email.message_from_bytes(
        b"MIME-Version: 1.0\r\nContent-Type: " + content_type.encode() + b"\r\n\r\n" + body, policy=email.policy.SMTP)
    parts = list(mime.iter_parts()) if mime.is_multipart() else [mime]
    if mime.is_multipart() and headers.get("mime-version") != ["1.0"]:
        raise Problem("a multipart body without MIME-Version: 1.0")
    for part in mime.walk():
        if part.defects:
            raise Problem(f"the multipart body has defects: {part.defects}")
    geolocation = [value.strip() for line in headers.get("geolocation", []) for value in line.split(",")]
    locations = [_location(part) for part in parts if part.get_content_type() == "application/pidf+xml"]
    named = [found.group(1) for value in geolocation if (found := re.match(r"<cid:([^>]+)>", value))]
    if sorted(named) != sorted(each.content_id for each in locations):
        raise Problem(f"Geolocation names {named}, the parts are {[each.content_id for each in locations]}")
    return Message(lines[0], headers, [part.get_content_type() for part in parts], geolocation, locations)


def _location(part):
    content_id = part["Content-ID"] or ""
    if not re.fullmatch(r"<[^<>@\s]+@[^<>@\s]+>", content_id):
        raise Problem(f"Content-ID {content_id!r} is not <id@host>")
    content = part.get_payload(decode=True)
    if wrong := validate(content):
        raise Problem(f"not valid: {wrong}\n{content.decode()}")
    document = etree.fromstring(content)
    civic = document.findall(".//ca:civicAddress", SPACES)
    if len(civic) != 1:
        raise Problem(f"{len(civic)} civic addresses; one place is described once (RFC 5491 rule 2)")
    elements = [(each.tag.partition("}")[2], each.text) for each in civic[0]]
    return Location(content_id[1:-1], dict(elements), [name for name, _ in elements], document)


def received(path):
    """The messages SIPp says it received, of its message log (`-trace_msg`)."""
    with open(path, "rb") as file:
        data = file.read()
    found = []
    for match in re.finditer(rb"message received \[(\d+)\] bytes ?:\r?\n\r?\n", data):
        found.append(data[match.end():match.end() + int(match.group(1))])
    return found


def main():
    sources = sys.argv[1:] or ["-"]
    for source in sources:
        data = sys.stdin.buffer.read() if source == "-" else open(source, "rb").read()
        message = check(data)
        print(f"{source}: {message.start}: {', '.join(message.types)}")
        for each in message.locations:
            print(f"  {each.content_id}: {each.elements}")


if __name__ == "__main__":
    main()
