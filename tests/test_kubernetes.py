"""The manifests in docs/examples/kubernetes: valid, hard, all of one piece, and what the Deployment starts is really started."""

from __future__ import annotations

import base64
import copy
import gzip
import hashlib
import importlib.util
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from attestation import policy
from tests.fakes import relying_party as fakes
from tests.fakes.relying_party import COMMAND, SECRET, Machine, Postgresql

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "examples" / "kubernetes"
DOCUMENTS = [(path.name, document) for path in sorted(FOLDER.glob("*.yaml")) for document in yaml.safe_load_all(path.read_text())]  # fmt: skip
OURS = [
    (name, one) for name, one in DOCUMENTS if one["kind"] != "ServiceMonitor"
]  # of an operator, not of Kubernetes
VERSION = "1.33"  # the oldest that is supported now
NAMES = [f"{name}:{one['kind']}/{one['metadata']['name']}" for name, one in OURS]


def found(kind: str, name: str) -> dict[str, Any]:
    (one,) = [one for _, one in DOCUMENTS if (one["kind"], one["metadata"]["name"]) == (kind, name)]
    return copy.deepcopy(one)


def pods() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the specification of every pod."""
    for name, one in DOCUMENTS:
        if one["kind"] == "Pod":
            yield f"{name}:{one['metadata']['name']}", one["spec"]
        elif one["kind"] == "Deployment":
            yield f"{name}:{one['metadata']['name']}", one["spec"]["template"]["spec"]
        elif one["kind"] == "CronJob":
            yield f"{name}:{one['metadata']['name']}", one["spec"]["jobTemplate"]["spec"]["template"]["spec"]


@pytest.mark.parametrize("version", [VERSION, kubernetes_validate.latest_version()])
@pytest.mark.parametrize(("_name", "document"), OURS, ids=NAMES)
def test_a_manifest_is_what_the_schemas_say(_name: str, document: dict[str, Any], version: str) -> None:
    kubernetes_validate.validate(document, version, strict=True)


MISTYPED = {
    "a key of a container": ("Deployment", "containers.0.securityContext", "readOnlyRootFilesystem", "readOnlyRootFileSystem"),
    "a key of a pod": ("Deployment", "", "serviceAccountName", "serviceAcountName"),
    "a probe": ("Deployment", "containers.0", "livenessProbe", "livelinessProbe"),
    "a seccomp profile": ("Deployment", "securityContext.seccompProfile", "localhostProfile", "localHostProfile"),
}  # fmt: skip


@pytest.mark.parametrize("case", MISTYPED)
def test_a_mistyped_key_is_noticed(case: str) -> None:
    kind, path, right, wrong = MISTYPED[case]
    document = found(kind, "relying-party")
    place: Any = document["spec"]["template"]["spec"]
    for part in filter(None, path.split(".")):
        place = place[int(part)] if part.isdecimal() else place[part]
    place[wrong] = place.pop(right)
    with pytest.raises(kubernetes_validate.ValidationError, match=wrong):
        kubernetes_validate.validate(document, VERSION, strict=True)


@pytest.mark.parametrize(
    ("path", "value"),
    [(("replicas",), "three"), (("selector",), []), (("template", "spec", "containers"), {}), (("template", "spec", "runtimeClassName"), 5)],
)  # fmt: skip
def test_a_value_of_another_type_is_noticed(path: tuple[str, ...], value: object) -> None:
    document = found("Deployment", "relying-party")
    place = document["spec"]
    for part in path[:-1]:
        place = place[part]
    place[path[-1]] = value
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(document, VERSION, strict=True)


# --- hard


@pytest.mark.parametrize(("_name", "spec"), list(pods()), ids=[name for name, _ in pods()])
def test_a_pod_may_do_as_little_as_it_can(_name: str, spec: dict[str, Any]) -> None:
    whole = spec["securityContext"]
    assert (whole["runAsNonRoot"], whole["runAsUser"] > 0) == (True, True)
    assert whole["seccompProfile"]["type"] in {"Localhost", "RuntimeDefault"}
    assert spec["automountServiceAccountToken"] is False
    assert spec["enableServiceLinks"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
    for container in spec["containers"]:
        own = container["securityContext"]
        assert own == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert (
            set(container["resources"]["limits"])
            == set(container["resources"]["requests"])
            == {"cpu", "memory"}
        )
        assert re.fullmatch(r"[a-z-]+:[0-9][0-9.]*", container["image"]), "a version, and never the latest"
        mounts = {mount["name"] for mount in container.get("volumeMounts", ())}
        assert mounts == {volume["name"] for volume in spec.get("volumes", ())}


# --- of one piece


def test_what_the_deployment_names_is_there() -> None:
    spec = found("Deployment", "relying-party")["spec"]
    (container,) = spec["template"]["spec"]["containers"]
    for volume in spec["template"]["spec"]["volumes"]:
        if "secret" in volume:
            found("Secret", volume["secret"]["secretName"])
        elif "configMap" in volume:
            found("ConfigMap", volume["configMap"]["name"])
        else:
            found("PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"])
    for variable in container["env"]:
        if "secretKeyRef" in variable.get("valueFrom", ()):
            reference = variable["valueFrom"]["secretKeyRef"]
            assert reference["key"] in found("Secret", reference["name"])["stringData"]
    found("ServiceAccount", spec["template"]["spec"]["serviceAccountName"])
    labels = spec["template"]["metadata"]["labels"]
    selectors = [
        spec["selector"]["matchLabels"],
        found("Service", "relying-party")["spec"]["selector"],
        found("Service", "relying-party-monitor")["spec"]["selector"],
        found("PodDisruptionBudget", "relying-party")["spec"]["selector"]["matchLabels"],
        found("NetworkPolicy", "relying-party")["spec"]["podSelector"]["matchLabels"],
    ]
    assert all(selector.items() <= labels.items() for selector in selectors)
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    named = {port["targetPort"] for service in ("relying-party", "relying-party-monitor") for port in found("Service", service)["spec"]["ports"]}  # fmt: skip
    named |= {
        container[probe]["httpGet"]["port"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")
    }
    named |= {
        port["port"]
        for rule in found("NetworkPolicy", "relying-party")["spec"]["ingress"]
        for port in rule["ports"]
    }
    assert named == set(ports)
    assert found("PodDisruptionBudget", "relying-party")["spec"]["minAvailable"] < spec["replicas"]
    annotations = spec["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/port"] == str(ports["monitor"])
    grace = spec["template"]["spec"]["terminationGracePeriodSeconds"]
    assert (
        grace > container["lifecycle"]["preStop"]["sleep"]["seconds"] + 30
    )  # what the service takes at most


def test_the_operator_of_prometheus_finds_the_monitor() -> None:
    monitor, service = (
        found("ServiceMonitor", "relying-party")["spec"],
        found("Service", "relying-party-monitor"),
    )
    assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert (
        not monitor["selector"]["matchLabels"].items()
        <= found("Service", "relying-party")["metadata"]["labels"].items()
    )
    assert {one["port"] for one in monitor["endpoints"]} == {
        port["name"] for port in service["spec"]["ports"]
    }


def test_the_policies_are_policies() -> None:
    for name, text in found("ConfigMap", "relying-party-policies")["data"].items():
        assert policy.load(text, name).tee == "simulated"


# --- started


def test_what_the_deployment_starts_serves(tmp_path: Path) -> None:
    """Its own arguments, on a PostgreSQL, with its paths below a folder: probes are answered, a machine is served."""
    if fakes.postgresql_programs() is None:
        pytest.skip("no PostgreSQL here: apt install postgresql")
    (container,) = found("Deployment", "relying-party")["spec"]["template"]["spec"]["containers"]
    placed(container, tmp_path)
    with tempfile.TemporaryDirectory(prefix="shim-pg-", dir="/tmp") as folder:  # a short path for a socket
        server = Postgresql(Path(folder))
        server.start()
        try:
            arguments = [translated(one, tmp_path, server.address) for one in container["args"]]
            put = [*arguments[:1], "--put-resource", f"disk@web={tmp_path / 'value'}", *arguments[1:]]
            kept = subprocess.run(
                [sys.executable, "-c", COMMAND, *put], capture_output=True, text=True, check=False, timeout=60
            )
            assert (kept.returncode, kept.stderr) == (0, "shim: disk: version 1, released by web\n")
            with fakes.serve(*arguments[1:]) as running:
                (watched,) = [
                    line.partition("watched at ")[2] for line in running.said if "watched at" in line
                ]
                for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                    assert fakes.ask(watched + container[probe]["httpGet"]["path"]).status == 200
                assert fakes.ask(f"{watched}/metrics").status == 200
                served(running.url, tmp_path / "etc/shim/tls/tls.crt")
                assert running.stop() == 0
        finally:
            server.stop()


def placed(container: Mapping[str, Any], root: Path) -> None:
    """Put what the volumes have to where they are mounted, below `root`."""
    for mount in container["volumeMounts"]:
        (root / mount["mountPath"].lstrip("/")).mkdir(parents=True)
    etc = root / "etc/shim"
    for name, text in found("ConfigMap", "relying-party-policies")["data"].items():
        (etc / "policies" / name).write_text(text)
    (etc / "keys/database-keys").write_text("31" * 32)
    (etc / "keys/token.pem").write_bytes(fakes.token.fresh_key().pem)
    pem = fakes.certificate(root).read_text()
    for name in ("tls.crt", "tls.key"):
        (etc / "tls" / name).write_text(pem)
    (root / "value").write_bytes(SECRET)


def translated(argument: str, root: Path, database: str) -> str:
    """Return an argument as it is on this machine: other ports, another database, paths below `root`."""
    name, _, value = argument.partition("=")
    if name in {"--listen", "--monitor"}:
        return f"{name}=127.0.0.1:0"
    if name == "--database":
        return f"{name}={database}"
    if name == "--instance":
        assert value == "$(POD_NAME)"
        return f"{name}=relying-party-0"
    return argument.replace("=/", f"={root}/")


def served(url: str, authorities: Path) -> None:
    from attestation import client  # noqa: PLC0415
    from attestation.collect import Collected  # noqa: PLC0415
    from attestation.simulated.collect import collect  # noqa: PLC0415

    machine = Machine()
    server = client.Server(url, authorities)
    answer = client.attest(
        server,
        "disk",
        lambda data: Collected("simulated", collect(data)[0], "here"),
        machine.key.private_bytes_raw(),
    )
    assert answer.value == SECRET


# --- init-data


def initdata() -> Any:  # noqa: ANN401
    spec = importlib.util.spec_from_file_location("initdata", FOLDER / "initdata.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_confidential_pods_are_told_what_the_file_says() -> None:
    kata = [one for name, one in DOCUMENTS if name == "workload-kata.yaml"]
    assert [one["spec"]["runtimeClassName"] for one in kata] == [
        "kata-qemu-snp",
        "kata-qemu-tdx",
        "kata-qemu-coco-dev",
    ]
    text = (FOLDER / "initdata.toml").read_bytes()
    for one in kata:
        (value,) = one["metadata"]["annotations"].values()
        assert gzip.decompress(base64.b64decode(value, validate=True)) == text
        assert one["metadata"]["annotations"] == {initdata().ANNOTATION: initdata().annotation(text)}


def test_digests_are_those_that_evidence_has() -> None:
    text = (FOLDER / "initdata.toml").read_bytes()
    digest = hashlib.sha384(text).hexdigest()
    assert initdata().digests(text) == {
        "host_data": digest[:64],
        "mr_config_id": digest,
        "rpv": digest + "00" * 16,
    }
    for other in (b'version = "0.2.0"\nalgorithm = "sha384"', b'version = "0.1.0"\nalgorithm = "md5"'):
        with pytest.raises(SystemExit):
            initdata().digests(other)
    ran = subprocess.run(
        [sys.executable, FOLDER / "initdata.py", FOLDER / "initdata.toml"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout.splitlines()[1] == f'host_data = ["{digest[:64]}"]'


def test_the_image_s_arguments_are_those_of_the_deployment() -> None:
    (container,) = found("Deployment", "relying-party")["spec"]["template"]["spec"]["containers"]
    said = (FOLDER / "image.sh").read_text().replace("\\\n", " ").replace("'", "")
    for argument in container["args"][1:]:
        name, _, value = argument.partition("=")
        if name != "--instance":  # the host's name, which is that of the pod
            assert f"{name} {value}" in said
