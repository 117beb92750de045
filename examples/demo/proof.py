"""Shows, from /proc, who runs a service and with which rights; exits with 1 if any right is left.

Run by demo.sh as root, with the user's name and the process ids of the services. Standard library only.
"""

from __future__ import annotations

import pwd
import sys
from pathlib import Path

CAPABILITIES = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
COLUMNS = ("Uid", "Gid", "Groups", *CAPABILITIES, "NoNewPrivs", "Seccomp")


def with_children(pid: int) -> list[int]:
    """Return the process and all below it."""
    children = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        children += [int(child) for child in (task / "children").read_text().split()]
    return [pid] + [found for child in children for found in with_children(child)]


def credentials(status: Path) -> tuple[str, ...]:
    """Return what the kernel says of one thread, one text for each of COLUMNS."""
    fields = dict(line.split(":\t", 1) for line in status.read_text(errors="replace").splitlines() if ":\t" in line)
    # The four ids are real, effective, saved and of the file system: one number if they are the same.
    ids = {name: "/".join(dict.fromkeys(fields[name].split())) for name in ("Uid", "Gid")}
    capabilities = {name: f"{int(fields[name], 16):x}" for name in CAPABILITIES}
    groups = {"Groups": ",".join(fields["Groups"].split()) or "-"}
    return tuple({**fields, **ids, **groups, **capabilities}[name].strip() for name in COLUMNS)


def main(user: str, *pids: str) -> int:
    """Print the processes and the table of rights; return the exit status."""
    uid = str(pwd.getpwnam(user).pw_uid)
    processes = [found for pid in pids for found in with_children(int(pid))]
    failures = []

    print("Processes:")
    for pid in processes:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").replace("\0", " ").strip()
        owner = pwd.getpwuid(int(credentials(Path(f"/proc/{pid}/status"))[0].split("/")[0])).pw_name
        print(f"  {owner:9} {pid:7}  {command if len(command) <= 150 else command[:147] + '...'}")

    print("\nRights of every thread (capability sets in hexadecimal; threads with the same rights in one line):")
    print(f"  {'process':>7} {'threads':>7}  {'  '.join(f'{name:>6}' for name in COLUMNS)}")
    for pid in processes:
        rows: dict[tuple[str, ...], int] = {}
        for task in Path(f"/proc/{pid}/task").iterdir():
            try:
                row = credentials(task / "status")
            except (FileNotFoundError, ProcessLookupError):
                continue  # the thread has ended since
            rows[row] = rows.get(row, 0) + 1
        for row, threads in rows.items():
            cells = "  ".join(f"{cell:>{max(len(name), 6)}}" for name, cell in zip(COLUMNS, row, strict=True))
            print(f"  {pid:7} {threads:7}  {cells}")
            right = dict(zip(COLUMNS, row, strict=True))
            if right["Uid"] != uid:
                failures.append(f"a thread of {pid} has the user ids {right['Uid']}, not {uid} alone")
            if "0" in (right["Gid"], *right["Groups"].split(",")):
                failures.append(f"a thread of {pid} is in root's group")
            if any(right[name] != "0" for name in CAPABILITIES):
                failures.append(f"a thread of {pid} has a capability left")
            if right["NoNewPrivs"] != "1":
                failures.append(f"a thread of {pid} can gain privileges by exec")

    for failure in failures:
        print(f"FAILED: {failure}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
