"""Servers of other protocols: mail, files, names, terminals, telemetry; over TCP and UDP.

Imported by the package alone.
"""

from __future__ import annotations

import hashlib
import os
import struct
from typing import TYPE_CHECKING

from exchanges import active_ftp, datagram, dns, greeting, say
from recipe import Recipe
from records import lines_of

from recipes.web import jar, main, own

if TYPE_CHECKING:
    from traffic import Client

SNMP = bytes.fromhex("302902010104067075626c6963a01c020401020304020100020100300e300c06082b060102010105000500")
COAP = bytes.fromhex("40011234b161")
TFTP = b"\0\1a\0octet\0"
NTP = b"\x1b" + bytes(47)


def radius(client: Client) -> None:
    """Send an Access-Request of user "a" with password "a" and wait for the Access-Accept (RFC 2865)."""
    authenticator = os.urandom(16)  # the server drops a request that it has seen
    digest = hashlib.md5(b"secret" + authenticator).digest()  # noqa: S324 - as the protocol has it
    hidden = bytes(x ^ y for x, y in zip(b"a".ljust(16, b"\0"), digest, strict=True))
    attributes = b"\1\3a" + b"\2\x12" + hidden
    datagram(
        struct.pack("!BBH", 1, authenticator[0], 20 + len(attributes)) + authenticator + attributes, b"\2" + authenticator[:1]
    )(client)


RECIPES = [
    Recipe(
        "greenmail",
        "GreenMail (SMTP, IMAP, POP3)",
        jar(
            options=(
                "-Dgreenmail.smtp.hostname=0.0.0.0",
                "-Dgreenmail.smtp.port=25",
                "-Dgreenmail.imap.hostname=0.0.0.0",
                "-Dgreenmail.imap.port=143",
                "-Dgreenmail.pop3.hostname=0.0.0.0",
                "-Dgreenmail.pop3.port=110",
                "-Dgreenmail.users=a:a@a",
            )
        ),
        greeting(b"220", b"NOOP\r\n", b"250"),
        ("com.icegreen:greenmail-standalone:2.1.2:jar",),
        listen=("0.0.0.0:25", "0.0.0.0:143", "0.0.0.0:110"),
    ),
    Recipe(
        "subetha",
        "SubEtha SMTP",
        own("SubEthaMain", "25"),
        greeting(b"220", b"HELO a\r\n", b"250"),
        ("com.github.davidmoten:subethasmtp:7.1.1",),
        listen=("25",),
    ),
    Recipe(
        "ftpserver",
        "Apache FtpServer",
        own("FtpMain", "21"),
        greeting(b"220", b"USER a\r\n", b"331"),
        ("org.apache.ftpserver:ftpserver-core:1.2.0",),
        listen=("21",),
    ),
    Recipe(
        "ftpserver-active",
        "Apache FtpServer, active mode from port 20",
        own("ActiveFtpMain", "21", "20"),
        active_ftp,
        ("org.apache.ftpserver:ftpserver-core:1.2.0",),
        listen=("21", "20,bind-only=16"),
    ),
    Recipe(
        "mockftp",
        "MockFtpServer",
        own("MockFtpMain", "21"),
        greeting(b"220", b"USER a\r\n", b"331"),
        ("org.mockftpserver:MockFtpServer:3.2.0",),
        listen=("21",),
    ),
    Recipe("sshd", "MINA SSHD", own("SshMain", "22"), greeting(b"SSH-2.0-"), ("org.apache.sshd:sshd-core:2.14.0",), listen=("22",)),
    Recipe(
        "dnsjava",
        "dnsjava (DNS over UDP)",
        own("DnsMain", "53"),
        dns("example.org"),
        ("dnsjava:dnsjava:3.6.2",),
        listen=("53/udp",),
    ),
    Recipe(
        "syslog4j",
        "syslog4j (UDP)",
        own("SyslogMain", "514"),
        lines_of("messages"),
        ("org.graylog2:syslog4j:0.9.61",),
        listen=("0.0.0.0:514/udp",),
    ),
    Recipe(
        "snmp4j",
        "SNMP4J agent (UDP)",
        own("SnmpMain", "161"),
        datagram(SNMP, b"public"),
        ("org.snmp4j:snmp4j-agent:3.8.2",),
        listen=("0.0.0.0:161/udp",),
    ),
    Recipe(
        "californium",
        "Californium (CoAP over UDP)",
        own("CoapMain", "683"),
        datagram(COAP, b"coap"),
        ("org.eclipse.californium:californium-core:3.13.0",),
        listen=("683/udp",),
    ),
    Recipe(
        "tftp",
        "Commons Net TFTP server (UDP)",
        own("TftpMain", "69"),
        datagram(TFTP, b"tftp"),
        ("commons-net:commons-net:3.11.1", "commons-net:commons-net:3.11.1:examples", "commons-net:commons-net:3.11.1:tests"),
        listen=("69/udp",),
    ),
    Recipe(
        "ntp",
        "Commons Net NTP server (UDP)",
        main("org.apache.commons.net.examples.ntp.SimpleNTPServer", "123"),
        datagram(NTP, b""),
        ("commons-net:commons-net:3.11.1", "commons-net:commons-net:3.11.1:examples", "commons-net:commons-net:3.11.1:tests"),
        listen=("123/udp",),
    ),
    Recipe(
        "tinyradius",
        "TinyRadius (UDP)",
        own("RadiusMain", "812"),
        radius,
        ("org.tinyradius:tinyradius:1.1.3",),
        listen=("812/udp",),
    ),
    Recipe("mina", "MINA 2.2", own("MinaMain", "23"), say(b"a\n", b"echo a"), ("org.apache.mina:mina-core:2.2.3",), listen=("23",)),
]
