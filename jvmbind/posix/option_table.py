"""Every socket option that Linux documents for the kinds of sockets that can be listeners, and what becomes of it.

Used by the supervisor and the worker; pure. An option is
  carried   set by the application on its own socket before bind, it is set on the listener too; and a listener on
            which it was set, by whomever, is set back before the next generation gets it;
  reset     not carried, for the reason given in docs/socket-options.md, but set back all the same;
  kept      the listener's own, and nothing without a privilege can change it;
  guarded   could not be set back: where it can be found, the next start is refused with its name;
  filter, member   a packet filter, a multicast group: see socket_options, multicast;
  nothing   no state of the socket, or one that ends with the connection.
Sources: socket(7), ip(7), ipv6(7), tcp(7), udp(7), unix(7), asm-generic/socket.h, linux/in.h, in6.h, tcp.h, udp.h.
"""

from __future__ import annotations

from jvmbind.record import NamedTuple

SOL_SOCKET, IP, IPV6, TCP, UDP = 1, 0, 41, 6, 17


class Option(NamedTuple):
    """One option. `size` is that of its value; `halve`: the kernel doubles what is set; `unset`: what sets it back."""

    name: str
    level: int
    number: int
    fate: str
    size: int = 4
    halve: bool = False
    unset: bytes | None = None
    blind: bool = False  # cannot be read, or not all of it: set back in any case


def _options(level: int, prefix: str, fate: str, text: str) -> list[Option]:
    """Read `NAME=NUMBER` or `NAME=NUMBER:SIZE`, separated by blanks."""
    found = []
    for word in text.split():
        name, _, value = word.partition("=")
        number, _, size = value.partition(":")
        found.append(Option(prefix + name, level, int(number), fate, int(size or 4)))
    return found


_ZERO, _MINUS = b"\0\0\0\0", b"\xff\xff\xff\xff"

OPTIONS = (
    # The buffers first: SO_BUF_LOCK behind them says whether they are the application's choice or the kernel's.
    Option("SO_RCVBUF", SOL_SOCKET, 8, "carried", halve=True),
    Option("SO_SNDBUF", SOL_SOCKET, 7, "carried", halve=True),
    *_options(SOL_SOCKET, "SO_", "carried", "DONTROUTE=5 BROADCAST=6 KEEPALIVE=9 OOBINLINE=10 NO_CHECK=11 PRIORITY=12"),
    *_options(SOL_SOCKET, "SO_", "carried", "LINGER=13:8 RCVLOWAT=18 RCVTIMEO=20:16 SNDTIMEO=21:16 TIMESTAMP=29 TIMESTAMPNS=35"),
    *_options(SOL_SOCKET, "SO_", "carried", "TIMESTAMPING=37:8 RXQ_OVFL=40 PEEK_OFF=42 SELECT_ERR_QUEUE=45 BUSY_POLL=46"),
    *_options(SOL_SOCKET, "SO_", "carried", "MAX_PACING_RATE=47:8 ZEROCOPY=60 PREFER_BUSY_POLL=69"),
    *_options(SOL_SOCKET, "SO_", "carried", "BUSY_POLL_BUDGET=70 TXREHASH=74 RCVPRIORITY=82 WIFI_STATUS=41 PASSCRED=16"),
    *_options(SOL_SOCKET, "SO_", "carried", "PASSSEC=34 PASSPIDFD=76 PASSRIGHTS=83 RESERVE_MEM=73"),
    Option("SO_BUF_LOCK", SOL_SOCKET, 72, "reset", blind=True),  # setting a buffer back sets it
    *_options(SOL_SOCKET, "SO_", "reset", "REUSEADDR=2 REUSEPORT=15 INCOMING_CPU=49"),
    *_options(
        SOL_SOCKET, "SO_", "kept", "MARK=36 RCVMARK=75 DEBUG=1 SNDBUFFORCE=32 RCVBUFFORCE=33 SNDLOWAT=19 BSDCOMPAT=14 NOFCS=43"
    ),
    *_options(SOL_SOCKET, "SO_", "guarded", "BINDTODEVICE=25:16 BINDTOIFINDEX=62 LOCK_FILTER=44"),
    *_options(
        SOL_SOCKET, "SO_", "nothing", "TYPE=3 ERROR=4 PEERCRED=17 PEERNAME=28 ACCEPTCONN=30 PEERSEC=31 PROTOCOL=38 DOMAIN=39"
    ),
    *_options(
        SOL_SOCKET, "SO_", "nothing", "BPF_EXTENSIONS=48 CNX_ADVICE=53 MEMINFO=55 INCOMING_NAPI_ID=56 COOKIE=57 PEERGROUPS=59"
    ),
    *_options(SOL_SOCKET, "SO_", "nothing", "NETNS_COOKIE=71 PEERPIDFD=77 TXTIME=61"),
    *_options(SOL_SOCKET, "SO_", "nothing", "DEVMEM_LINEAR=78 DEVMEM_DMABUF=79 DEVMEM_DONTNEED=80"),
    *_options(SOL_SOCKET, "SO_", "filter", "ATTACH_FILTER=26 DETACH_FILTER=27 ATTACH_BPF=50"),
    *_options(SOL_SOCKET, "SO_", "filter", "ATTACH_REUSEPORT_CBPF=51 ATTACH_REUSEPORT_EBPF=52 DETACH_REUSEPORT_BPF=68"),
    Option("IP_TTL", IP, 2, "carried", unset=_MINUS),
    *_options(IP, "IP_", "carried", "TOS=1 RECVOPTS=6 RETOPTS=7 PKTINFO=8 MTU_DISCOVER=10 RECVERR=11 RECVTTL=12 RECVTOS=13"),
    *_options(IP, "IP_", "carried", "PASSSEC=18 RECVORIGDSTADDR=20 MINTTL=21 CHECKSUM=23 BIND_ADDRESS_NO_PORT=24 RECVFRAGSIZE=25"),
    *_options(IP, "IP_", "carried", "RECVERR_RFC4884=26 MULTICAST_TTL=33 MULTICAST_LOOP=34 MULTICAST_ALL=49"),
    *_options(IP, "IP_", "carried", "UNICAST_IF=50 LOCAL_PORT_RANGE=51"),
    Option("IP_MULTICAST_IF", IP, 32, "carried", unset=_ZERO, blind=True),
    Option("IP_OPTIONS", IP, 4, "carried", 40, unset=b""),
    *_options(IP, "IP_", "reset", "FREEBIND=15"),
    *_options(IP, "IP_", "kept", "TRANSPARENT=19 IPSEC_POLICY=16 XFRM_POLICY=17 HDRINCL=3 NODEFRAG=22 ROUTER_ALERT=5"),
    *_options(IP, "IP_", "nothing", "PKTOPTIONS=9 MTU=14 PROTOCOL=52"),
    *_options(IP, "", "member", "IP_ADD_MEMBERSHIP=35 IP_DROP_MEMBERSHIP=36 IP_UNBLOCK_SOURCE=37 IP_BLOCK_SOURCE=38"),
    *_options(IP, "", "member", "IP_ADD_SOURCE_MEMBERSHIP=39 IP_DROP_SOURCE_MEMBERSHIP=40 IP_MSFILTER=41 MCAST_JOIN_GROUP=42"),
    *_options(IP, "", "member", "MCAST_BLOCK_SOURCE=43 MCAST_UNBLOCK_SOURCE=44 MCAST_LEAVE_GROUP=45 MCAST_JOIN_SOURCE_GROUP=46"),
    *_options(IP, "", "member", "MCAST_LEAVE_SOURCE_GROUP=47 MCAST_MSFILTER=48"),
    Option("IPV6_UNICAST_HOPS", IPV6, 16, "carried", unset=_MINUS),
    Option("IPV6_AUTOFLOWLABEL", IPV6, 70, "carried"),
    *_options(IPV6, "IPV6_", "carried", "MULTICAST_IF=17 MULTICAST_HOPS=18 MULTICAST_LOOP=19 MTU_DISCOVER=23 RECVERR=25"),
    *_options(IPV6, "IPV6_", "carried", "MULTICAST_ALL=29 ROUTER_ALERT_ISOLATE=30 RECVERR_RFC4884=31 FLOWINFO_SEND=33"),
    *_options(IPV6, "IPV6_", "carried", "RECVPKTINFO=49 RECVHOPLIMIT=51 RECVHOPOPTS=53 RECVRTHDR=56 RECVDSTOPTS=58 RECVPATHMTU=60"),
    *_options(
        IPV6, "IPV6_", "carried", "DONTFRAG=62 RECVTCLASS=66 TCLASS=67 ADDR_PREFERENCES=72 MINHOPCOUNT=73 RECVORIGDSTADDR=74"
    ),
    *_options(IPV6, "IPV6_", "carried", "UNICAST_IF=76 RECVFRAGSIZE=77 2292PKTINFO=2 2292HOPOPTS=3 2292DSTOPTS=4 2292RTHDR=5"),
    *_options(IPV6, "IPV6_", "carried", "2292HOPLIMIT=8 FLOWINFO=11"),
    *_options(IPV6, "IPV6_", "reset", "FREEBIND=78"),
    *_options(
        IPV6, "IPV6_", "kept", "V6ONLY=26 TRANSPARENT=75 HDRINCL=36 IPSEC_POLICY=34 XFRM_POLICY=35 CHECKSUM=7 ROUTER_ALERT=22"
    ),
    *_options(IPV6, "IPV6_", "kept", "HOPOPTS=54:0 RTHDRDSTOPTS=55:0 DSTOPTS=59:0 NEXTHOP=9:0"),
    Option("IPV6_MTU", IPV6, 24, "reset", 0, unset=_ZERO, blind=True),
    Option("IPV6_RTHDR", IPV6, 57, "reset", 0, unset=b"", blind=True),
    Option("IPV6_PKTINFO", IPV6, 50, "reset", 0, unset=b"\0" * 20, blind=True),
    *_options(IPV6, "IPV6_", "guarded", "ADDRFORM=1 FLOWLABEL_MGR=32"),
    *_options(IPV6, "IPV6_", "nothing", "2292PKTOPTIONS=6 PATHMTU=61 HOPLIMIT=52"),
    *_options(IPV6, "IPV6_", "member", "ADD_MEMBERSHIP=20 DROP_MEMBERSHIP=21"),
    *_options(IPV6, "IPV6_", "kept", "JOIN_ANYCAST=27 LEAVE_ANYCAST=28"),
    Option("TCP_MAXSEG", TCP, 2, "carried", unset=_ZERO),
    Option("TCP_CONGESTION", TCP, 13, "carried", 16),
    *_options(TCP, "TCP_", "carried", "NODELAY=1 CORK=3 KEEPIDLE=4 KEEPINTVL=5 KEEPCNT=6 SYNCNT=7 LINGER2=8 DEFER_ACCEPT=9"),
    *_options(
        TCP, "TCP_", "carried", "QUICKACK=12 THIN_LINEAR_TIMEOUTS=16 USER_TIMEOUT=18 FASTOPEN=23 NOTSENT_LOWAT=25 SAVE_SYN=27"
    ),
    *_options(
        TCP,
        "TCP_",
        "carried",
        "FASTOPEN_NO_COOKIE=34 INQ=36 TX_DELAY=37 RTO_MAX_MS=44 RTO_MIN_US=45 DELACK_MAX_US=46",
    ),
    Option("TCP_FASTOPEN_CONNECT", TCP, 30, "reset"),
    Option("TCP_WINDOW_CLAMP", TCP, 10, "carried", unset=(1 << 30).to_bytes(4, "little")),
    *_options(TCP, "TCP_", "kept", "REPAIR=19 REPAIR_QUEUE=20 QUEUE_SEQ=21 REPAIR_OPTIONS=22 REPAIR_WINDOW=29 AO_REPAIR=42"),
    *_options(TCP, "TCP_", "guarded", "MD5SIG=14 MD5SIG_EXT=32 AO_ADD_KEY=38 AO_DEL_KEY=39 AO_INFO=40 ULP=31 FASTOPEN_KEY=33"),
    *_options(
        TCP, "TCP_", "nothing", "INFO=11 THIN_DUPACK=17 TIMESTAMP=24 CC_INFO=26 SAVED_SYN=28 ZEROCOPY_RECEIVE=35 AO_GET_KEYS=41"
    ),
    *_options(TCP, "TCP_", "nothing", "IS_MPTCP=43"),
    *_options(UDP, "UDP_", "carried", "CORK=1 ENCAP=100 NO_CHECK6_TX=101 NO_CHECK6_RX=102 SEGMENT=103 GRO=104"),
)
