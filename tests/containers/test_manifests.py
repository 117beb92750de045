"""The Kubernetes manifests of examples/: by the published schemas, with nothing unknown, and in step with jvmbind's own times.

Run by pytest without root. Must not import jvmbind.
"""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import referencing
import referencing.jsonschema
import yaml

from support.artifacts import SCHEMAS, artifact

MANIFEST = Path(__file__).resolve().parents[2] / "examples" / "kubernetes" / "shop.yaml"


def documents() -> list[dict[str, Any]]:
    """Return the objects of the manifest."""
    return list(yaml.safe_load_all(MANIFEST.read_text()))


def errors(folder: Path, document: dict[str, Any]) -> list[str]:
    """Return what a schema of Kubernetes says of an object."""
    group, _, version = document["apiVersion"].rpartition("/")
    words = [document["kind"].lower(), *([group.partition(".")[0]] if group else []), version]

    definitions = json.loads((folder / "_definitions.json").read_text())
    resource = referencing.jsonschema.DRAFT202012.create_resource(definitions)
    registry = referencing.Registry().with_resource("_definitions.json", resource)
    schema = json.loads((folder / f"{'-'.join(words)}.json").read_text())
    checked = jsonschema.Draft202012Validator(schema, registry=registry)
    return [f"{error.json_path}: {error.message}" for error in checked.iter_errors(document)]


@pytest.mark.parametrize("version", SCHEMAS)
def test_schemas(version: str) -> None:
    """Each object is valid in the oldest version that has a sleep in preStop and in a new one; a misspelt key is not."""
    folder = artifact(version)
    found = {f"{document['kind']}: {error}" for document in documents() for error in errors(folder, document)}
    broken = documents()[1]
    broken["spec"]["template"]["spec"]["containers"][0]["securityContext"]["readOnlyRootFileSystem"] = True

    assert found == set()
    assert any("readOnlyRootFileSystem" in error for error in errors(folder, broken))


def test_no_right() -> None:
    """The pod has no user, capability, privilege, writable root or token that it does not need."""
    pod = documents()[1]["spec"]["template"]["spec"]
    (container,) = pod["containers"]

    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {"hostNetwork", "hostPID", "hostIPC", "hostUsers"} & pod.keys() == set()


def test_times() -> None:
    """The kubelet's SIGKILL comes after preStop, the drain, the JVM's own time and jvmbind's SIGKILL, and not much later."""
    config, deployment = documents()[:2]
    supervise = tomllib.loads(config["data"]["shop.toml"])["supervise"]
    pod = deployment["spec"]["template"]["spec"]
    sleep = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    needed = sleep + supervise["stop_drain_timeout"] + supervise["stop_timeout"]

    assert needed + 5 <= pod["terminationGracePeriodSeconds"] <= needed + 10
