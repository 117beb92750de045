"""The table of launches: `jvmbind run` in place of `java` changes nothing that a user or a program can see."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from differential.cases import CASES, Case
from differential.fixtures import build
from differential.runner import Outcome, Site, command_of, differences, run, site

if TYPE_CHECKING:
    from support.jdks import Jdk

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="session")
def place(shared_directory: Path) -> Site:
    """Return the folder with all that the cases run."""
    root = shared_directory / "launches"
    root.mkdir()
    return site(build(root))


@pytest.fixture(scope="session")
def by_java(place: Site) -> JavaOutcomes:
    """Return what `java` does, each case run once."""
    return JavaOutcomes(place)


class JavaOutcomes:
    """The outcomes of the real `java`, kept for the other variants."""

    def __init__(self, place: Site) -> None:
        self._place = place
        self._known: dict[tuple[int, str], Outcome] = {}

    def of(self, jdk: Jdk, case: Case) -> Outcome:
        """Return the outcome of one case."""
        key = (jdk.feature, case.name)
        if key not in self._known:
            self._known[key] = run([jdk.java], case, jdk, self._place)
        return self._known[key]


# The whole table takes half an hour: JVMBIND_DIFFERENTIAL=all. Otherwise every eighth case runs, and every sixteenth supervised.
WHOLE = os.environ.get("JVMBIND_DIFFERENTIAL") == "all"
LAUNCHES = [(case, False) for case in (CASES if WHOLE else CASES[::8])] + [
    (case, True) for case in (CASES if WHOLE else CASES[4::16])
]


@pytest.mark.parametrize(
    ("case", "supervised"), LAUNCHES, ids=lambda value: getattr(value, "name", None) or ("direct", "supervised")[value]
)
def test_same_as_java(jdk: Jdk, case: Case, supervised: bool, jvmbind: list[str], place: Site, by_java: JavaOutcomes) -> None:
    """Status, stdout and stderr are those of `java`, but for what the case itself says."""
    if not case.jdks[0] <= jdk.feature <= case.jdks[1]:
        pytest.skip("not for this version")
    if supervised and not case.supervised:
        pytest.skip("has no meaning under the supervisor")

    actual = run(command_of(jvmbind, jdk, supervised=supervised), case, jdk, place)

    assert not differences(by_java.of(jdk, case), actual, case, supervised=supervised)


def test_table() -> None:
    """There are enough cases, each has a name of its own, and whatever is left out has a reason."""
    assert len(CASES) >= 150
    assert len({case.name for case in CASES}) == len(CASES)
    assert all(case.difference for case in CASES if case.status is not None or case.drop)
