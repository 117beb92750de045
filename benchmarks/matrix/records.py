"""Clients of servers that store: each exchange writes one record, and what was confirmed must be there at the end.

Imported by the recipes and by run.py. JDBC and Kafka are spoken by a Java program of this folder that lives as long as the
run and takes one line for each record; the others by a few lines here.
"""

# ruff: noqa: INP001 - programs of their own, no package
from __future__ import annotations

import socket
import struct
import subprocess
from typing import TYPE_CHECKING

from exchanges import number
from traffic import EndedError, WrongAnswerError, expect, receive, receive_until

from support.runner import as_user
from support.users import SERVICE_USER

if TYPE_CHECKING:
    from traffic import Client, Exchange


ASKED = 5
"""How often a record that has not come is asked for by name before it counts as missing."""


class JavaClient:
    """A Java program of programs/ as the client; stands for an exchange and for the check at the end."""

    def __init__(self, source: str, *arguments: str) -> None:
        """Start nothing yet; {port} and {base} in the arguments are filled in."""
        self.source, self.arguments = source, arguments

    def __call__(self, client: Client) -> None:
        """Write one record."""
        with client.lock:
            name = number()
            self._ask(client, name)
            client.acknowledged.append(name)

    def verify(self, client: Client) -> list[str]:
        """Return all records."""
        with client.lock:
            return self._ask(client, "verify").split()

    def _ask(self, client: Client, line: str) -> str:
        if client.helper is None:
            words = [word.format(port=client.port, base=client.site.base) for word in self.arguments]
            command = [client.site.jdk.java, "-Xmx64m", *client.site.program(self.source, *words)]
            with client.network.entered():
                client.helper = subprocess.Popen([*as_user(SERVICE_USER), *command], stdin=subprocess.PIPE, cwd=client.site.base,
                                                 stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)  # fmt: skip
        stdin, stdout = client.helper.stdin, client.helper.stdout
        if stdin is None or stdout is None:
            raise WrongAnswerError("the client program has no pipes")
        stdin.write(line + "\n")
        stdin.flush()
        while True:
            answer = stdout.readline().strip()
            if not answer:
                raise WrongAnswerError("the client program has ended")
            kind, _, rest = answer.partition(" ")
            if kind == "ok":
                return rest
            if kind == "refused":
                raise ConnectionRefusedError(rest[:300])
            if kind == "failed":
                raise EndedError(rest[:300])


class ZooKeeper:
    """One session for each record: connect, create a node, close."""

    def __call__(self, client: Client) -> None:
        """Write one record."""
        name = number()
        with client.connected() as connection:
            self._session(connection)
            acl = struct.pack("!i", 1) + struct.pack("!i", 31) + _text("world") + _text("anyone")
            body = struct.pack("!ii", 1, 1) + _text(f"/{name}") + _text("x") + acl + struct.pack("!i", 0)
            (error,) = struct.unpack("!i", self._call(connection, body)[12:16])
            expect(error == 0, f"create {error}")
            client.acknowledged.append(name)
            self._call(connection, struct.pack("!ii", 2, -11))

    def verify(self, client: Client) -> list[str]:
        """Return the names of all nodes."""
        with client.connected() as connection:
            self._session(connection)
            answer = self._call(connection, struct.pack("!ii", 1, 8) + _text("/") + b"\0")
            (count,) = struct.unpack("!i", answer[16:20])
            names, place = [], 20
            for _ in range(count):
                (size,) = struct.unpack("!i", answer[place : place + 4])
                names.append(answer[place + 4 : place + 4 + size].decode())
                place += 4 + size
            return names

    def _session(self, connection: socket.socket) -> None:
        self._call(connection, struct.pack("!iqiq", 0, 0, 10000, 0) + struct.pack("!i", 16) + bytes(16))

    def _call(self, connection: socket.socket, body: bytes) -> bytes:
        connection.sendall(struct.pack("!i", len(body)) + body)
        (size,) = struct.unpack("!i", receive(connection, 4))
        return receive(connection, size)


def _text(words: str) -> bytes:
    return struct.pack("!i", len(words)) + words.encode()


class Stomp:
    """One persistent message with a receipt for each record; the check consumes the queue."""

    consumes = True

    def __call__(self, client: Client) -> None:
        """Write one record."""
        name = number()
        with client.connected() as connection:
            self._connect(connection)
            send = f"SEND\ndestination:/queue/matrix\ndestination-type:ANYCAST\npersistent:true\nreceipt:1\n\n{name}\0"
            connection.sendall(send.encode())
            found = receive_until(connection, b"\0")
            expect(b"RECEIPT" in found, found)
            client.acknowledged.append(name)

    def verify(self, client: Client) -> list[str]:
        """Return all messages."""
        with client.connected() as connection:
            self._connect(connection)
            connection.sendall(b"SUBSCRIBE\nid:1\ndestination:/queue/matrix\nsubscription-type:ANYCAST\nack:auto\n\n\0")
            connection.settimeout(3)
            data = b""
            try:
                while chunk := connection.recv(1 << 16):
                    data += chunk
            except TimeoutError:
                pass
        return [part.rpartition(b"\n\n")[2].decode() for part in data.split(b"\0") if b"MESSAGE" in part]

    @staticmethod
    def _connect(connection: socket.socket) -> None:
        connection.sendall(b"CONNECT\naccept-version:1.1\nhost:a\nlogin:a\npasscode:a\n\n\0")
        found = receive_until(connection, b"\0")
        expect(found.startswith(b"CONNECTED"), found)


class Mqtt:
    """One retained message with QoS 1 for each record; the check subscribes to all."""

    def __call__(self, client: Client) -> None:
        """Write one record."""
        name = number()
        with client.connected() as connection:
            self._connect(connection, name)
            connection.sendall(_packet(0x33, _short(f"matrix/{name}") + b"\0\1" + name.encode()))
            expect(receive(connection, 4)[:2] == b"\x40\x02", "PUBACK")
            client.acknowledged.append(name)
            connection.sendall(_packet(0xE0, b""))

    def verify(self, client: Client) -> list[str]:
        """Return all retained messages.

        A broker may drop what a subscriber is sent too fast (QoS 0), so what is not among all of them is asked for by name.
        On a machine under load an answer to that may take longer than the silence that ends it, so it is asked for again.
        """
        names = self._retained(client, ["#"], len(client.acknowledged))
        for _ in range(ASKED):
            if missing := sorted(set(client.acknowledged).difference(names)):
                names += self._retained(client, missing, len(missing))
        return names

    def _retained(self, client: Client, topics: list[str], count: int) -> list[str]:
        """Return what comes for subscriptions, at most `count` messages, until the broker is silent for 3 s or ends it."""
        names: list[str] = []
        with client.connected() as connection:
            self._connect(connection, number())
            connection.settimeout(3)
            try:
                for topic in topics:
                    connection.sendall(_packet(0x82, b"\0\2" + _short(f"matrix/{topic}") + b"\0"))
                while len(names) < count:
                    kind = receive(connection, 1)[0]
                    size, shift = 0, 0
                    while True:
                        (byte,) = receive(connection, 1)
                        size |= (byte & 127) << shift
                        shift += 7
                        if byte < 128:
                            break
                    body = receive(connection, size)
                    if kind >> 4 == 3:
                        (length,) = struct.unpack("!H", body[:2])
                        names.append(body[2 : 2 + length].decode().partition("/")[2])
            except (TimeoutError, EndedError):
                pass
        return names

    @staticmethod
    def _connect(connection: socket.socket, name: str) -> None:
        connection.sendall(_packet(0x10, _short("MQTT") + bytes([4, 2, 0, 60]) + _short(f"c{name}")))
        found = receive(connection, 4)
        expect(found == b"\x20\x02\0\0", found)


def _packet(kind: int, body: bytes) -> bytes:
    return bytes([kind, len(body)]) + body


def _short(words: str) -> bytes:
    return struct.pack("!H", len(words)) + words.encode()


class Ldap:
    """One entry for each record, added as the administrator of ApacheDS; the check searches for all."""

    def __call__(self, client: Client) -> None:
        """Write one record."""
        name = number()
        with client.connected() as connection:
            self._bind(connection)
            values = {"objectClass": ["top", "person"], "cn": [name], "sn": [name]}
            attributes = b"".join(
                _tlv(0x30, _octets(kind) + _tlv(0x31, b"".join(map(_octets, many)))) for kind, many in values.items()
            )
            connection.sendall(_ldap(2, _tlv(0x68, _octets(f"cn={name},ou=system") + _tlv(0x30, attributes))))
            self._expect_success(connection, 0x69)
            client.acknowledged.append(name)
            connection.sendall(_ldap(3, _tlv(0x42, b"")))

    def verify(self, client: Client) -> list[str]:
        """Return the names of all entries."""
        with client.connected() as connection:
            self._bind(connection)
            scope = _tlv(0x0A, b"\1") + _tlv(0x0A, b"\0") + 2 * _tlv(2, b"\0") + _tlv(1, b"\0")
            equal = _tlv(0xA3, _octets("objectClass") + _octets("person"))
            connection.sendall(_ldap(2, _tlv(0x63, _octets("ou=system") + scope + equal + _tlv(0x30, _octets("cn")))))
            names = []
            while (body := self._answer(connection))[:1] == b"\x64":
                _, entry, _ = _parts(body)
                _, name, _ = _parts(entry)
                names.append(name.decode().partition(",")[0].partition("=")[2])
            return [name for name in names if name.startswith(number().partition("-")[0])]

    def _bind(self, connection: socket.socket) -> None:
        words = _tlv(2, b"\3") + _octets("uid=admin,ou=system") + _tlv(0x80, b"secret")
        connection.sendall(_ldap(1, _tlv(0x60, words)))
        self._expect_success(connection, 0x61)

    def _expect_success(self, connection: socket.socket, kind: int) -> None:
        answer = self._answer(connection)
        _, result, _ = _parts(answer)
        expect(answer[0] == kind and result[:3] == b"\x0a\1\0", answer)

    @staticmethod
    def _answer(connection: socket.socket) -> bytes:
        """Return the operation of the next message."""
        head = receive(connection, 2)
        size = head[1]
        if size & 128:
            size = int.from_bytes(receive(connection, size & 127), "big")
        _, _, operation = _parts(receive(connection, size))
        return operation


def _tlv(kind: int, value: bytes) -> bytes:
    """Encode as BER has it: ITU-T X.690."""
    size = len(value)
    return bytes([kind]) + (bytes([size]) if size < 128 else b"\x82" + size.to_bytes(2, "big")) + value


def _octets(words: str) -> bytes:
    return _tlv(4, words.encode())


def _ldap(number_of_message: int, operation: bytes) -> bytes:
    return _tlv(0x30, _tlv(2, bytes([number_of_message])) + operation)


def _parts(data: bytes) -> tuple[int, bytes, bytes]:
    """Return the kind and the value of the first element, and what follows it."""
    size, begin = data[1], 2
    if size & 128:
        begin += size & 127
        size = int.from_bytes(data[2:begin], "big")
    return data[0], data[begin : begin + size], data[begin + size :]


def lines_of(name: str) -> Exchange:
    """Send a syslog datagram and wait until the server has written it to the file of that name."""

    def exchange(client: Client) -> None:
        words = number()
        with client.connected(socket.SOCK_DGRAM) as connection:
            connection.send(f"<14>Oct 11 22:14:15 host matrix: <{words}>".encode())
        client.wait_for(client.site.base / name, f"<{words}>")

    return exchange
