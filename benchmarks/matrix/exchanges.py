"""What real clients say to the servers of the matrix: one complete exchange of each protocol, in few lines.

Imported by the recipes; uses traffic.Client alone.
"""

# ruff: noqa: INP001 - programs of their own, no package
from __future__ import annotations

import contextlib
import http.client
import itertools
import os
import re
import socket
import struct
from typing import TYPE_CHECKING

from traffic import EndedError, expect, receive, receive_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from traffic import Client, Exchange

_numbers = itertools.count(1)


def http_get(path: str = "/", body: str = "", status: int = 200, method: str = "GET", text: str = "", **headers: str) -> Exchange:
    """Ask for a page; `body` is a regular expression that the answer must contain."""

    def exchange(client: Client) -> None:
        with client.connected() as connection:
            asked = http.client.HTTPConnection("localhost")
            asked.sock = connection
            sent = {name.replace("_", "-"): value for name, value in headers.items()}
            try:
                asked.request(method, path, body=text.encode() or None, headers={"Connection": "close", **sent})
                answer = asked.getresponse()
                found = answer.read().decode(errors="replace")
            except (http.client.RemoteDisconnected, http.client.IncompleteRead) as error:
                raise EndedError(repr(error)) from None
            except http.client.HTTPException as error:
                expect(False, error)
                raise
            expect(answer.status == status, (answer.status, found[:150]))
            expect(re.search(body, found) is not None, found[:150])

    return exchange


def greeting(begin: bytes, say: bytes = b"", answer: bytes = b"", end: bytes = b"\n") -> Exchange:
    """Wait for the server's first line, say something and wait for its answer."""

    def exchange(client: Client) -> None:
        with client.connected() as connection:
            first = receive_until(connection, end)
            expect(first.startswith(begin), first)
            if say:
                connection.sendall(say)
                second = receive_until(connection, end)
                expect(second.startswith(answer), second)

    return exchange


def say(words: bytes, answer: bytes, end: bytes = b"\n") -> Exchange:
    """Say something first and wait for the answer, which begins so."""

    def exchange(client: Client) -> None:
        with client.connected() as connection:
            connection.sendall(words)
            found = receive_until(connection, end) if end else receive(connection, len(answer))
            expect(found.startswith(answer), found)

    return exchange


def number() -> str:
    """Return a name that no other exchange has."""
    return f"{os.getpid()}-{next(_numbers)}"


def datagram(words: bytes, contains: bytes) -> Exchange:
    """Send one datagram and wait for the one that answers it."""

    def exchange(client: Client) -> None:
        with client.connected(socket.SOCK_DGRAM) as connection:
            connection.send(words)
            found = connection.recv(65536)
            expect(contains in found, found)

    return exchange


def mqtt_publish(client: Client) -> None:
    """MQTT 3.1.1: connect, publish one retained message with QoS 1, wait for its acknowledgement, disconnect."""
    name = number()

    def packet(kind: int, body: bytes) -> bytes:
        return bytes([kind, len(body)]) + body

    def text(words: str) -> bytes:
        return struct.pack("!H", len(words)) + words.encode()

    with client.connected() as connection:
        connection.sendall(packet(0x10, text("MQTT") + bytes([4, 2, 0, 60]) + text(f"c{name}")))
        expect(receive(connection, 4) == b"\x20\x02\0\0", "CONNACK")
        connection.sendall(packet(0x33, text(f"matrix/{name}") + b"\0\1" + name.encode()))
        expect(receive(connection, 4)[:2] == b"\x40\x02", "PUBACK")
        connection.sendall(packet(0xE0, b""))


def stomp_send(client: Client) -> None:
    """STOMP: connect, send one persistent message, wait for its receipt."""
    with client.connected() as connection:
        connection.sendall(b"CONNECT\naccept-version:1.2\nhost:a\nlogin:a\npasscode:a\n\n\0")
        found = receive_until(connection, b"\0")
        expect(found.startswith(b"CONNECTED"), found)
        name = number().encode()
        connection.sendall(b"SEND\ndestination:/queue/matrix\npersistent:true\nreceipt:1\n\n" + name + b"\0")
        found = receive_until(connection, b"\0")
        expect(b"RECEIPT" in found, found)
        client.acknowledged.append(name.decode())


def ldap_search(client: Client) -> None:
    """LDAP: bind anonymously, read the root entry."""
    with client.connected() as connection:
        connection.sendall(bytes.fromhex("300c020101600702010304008000"))
        found = connection.recv(4096)
        expect(found[:1] == b"\x30" and b"\x61" in found, found)
        search = bytes.fromhex("30250201026320040" + "00a01000a0100020100020100010100870b") + b"objectClass" + bytes.fromhex("3000")
        connection.sendall(search)
        found = connection.recv(65536)
        expect(found[:1] == b"\x30", found)


def dns(name: str) -> Exchange:
    """Ask for an A record over UDP."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))

    def exchange(client: Client) -> None:
        query = struct.pack("!6H", 0x1234, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!2H", 1, 1)
        with client.connected(socket.SOCK_DGRAM) as connection:
            connection.send(query)
            found = connection.recv(4096)
            expect(found[:2] == b"\x12\x34" and found[3] & 15 == 0 and len(found) > len(query), found)

    return exchange


def active_ftp(client: Client) -> None:
    """Store a file over FTP and fetch it back: both data connections are the server's, from port 20, to a port of this client."""
    name, content = number(), os.urandom(200_000)
    with client.connected() as control:
        _ftp(control, b"", b"220")
        _ftp(control, b"USER a", b"331")
        _ftp(control, b"PASS a", b"230")
        _ftp(control, b"TYPE I", b"200")
        with _data_connection(client, control, f"STOR {name}") as data:
            data.sendall(content)
        _ftp(control, b"", b"226")
        with _data_connection(client, control, f"RETR {name}") as data:
            found = b""
            while chunk := data.recv(65536):
                found += chunk
        _ftp(control, b"", b"226")
        expect(found == content, f"{len(found)} of {len(content)} bytes are as they were stored")
        _ftp(control, f"DELE {name}".encode(), b"250")
        _ftp(control, b"QUIT", b"221")


@contextlib.contextmanager
def _data_connection(client: Client, control: socket.socket, command: str) -> Iterator[socket.socket]:
    with client.network.open_socket(socket.AF_INET, socket.SOCK_STREAM) as server:
        server.settimeout(client.timeout)
        server.bind((client.host, 0))
        server.listen()
        words = [*client.host.split("."), *map(str, divmod(server.getsockname()[1], 256))]
        _ftp(control, f"PORT {','.join(words)}".encode(), b"200")
        control.sendall(command.encode() + b"\r\n")
        _ftp(control, b"", b"150")
        connection, (_, port) = server.accept()
        with connection:
            connection.settimeout(client.timeout)
            expect(port == 20, f"the data connection comes from port {port}")
            yield connection


def _ftp(control: socket.socket, command: bytes, expected: bytes) -> None:
    """Send a command and read its answer of one line."""
    if command:
        control.sendall(command + b"\r\n")
    found = b""
    while not found.endswith(b"\n"):
        found += receive(control, 1)
    expect(found.startswith(expected), found)
