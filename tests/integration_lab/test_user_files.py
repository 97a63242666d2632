"""The files for users that no lab of ours can run whole: what their own schemas say of them."""

from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

COMPOSE = Path(__file__).resolve().parents[2] / "compose"

KUBERNETES = ("1.28", "1.33", kubernetes_validate.latest_version())
"""An old release, the one of the day, the newest that the schemas know."""


def pod() -> dict[str, Any]:
    (document,) = yaml.safe_load_all((COMPOSE / "kubernetes.yaml").read_text())
    assert isinstance(document, dict)
    return document


def sidecar() -> dict[str, Any]:
    document = yaml.safe_load((COMPOSE / "sidecar.yaml").read_text())
    service = document["services"]["kbwg"]
    assert isinstance(service, dict)
    return service


@pytest.mark.parametrize("release", KUBERNETES)
def test_the_pod_is_what_kubernetes_accepts(release: str) -> None:
    kubernetes_validate.validate(pod(), release, strict=True)


def test_a_field_that_kubernetes_does_not_know_would_be_found() -> None:
    wrong = pod()
    wrong["spec"]["template"]["spec"]["containers"][0]["securityContex"] = {}

    with pytest.raises(kubernetes_validate.ValidationError, match="securityContex"):
        kubernetes_validate.validate(wrong, KUBERNETES[-1], strict=True)


def test_the_pod_has_the_privileges_of_the_compose_file_and_no_others() -> None:
    containers = pod()["spec"]["template"]["spec"]["containers"]
    (kbwg,) = (container for container in containers if container["name"] == "kbwg")
    context = kbwg["securityContext"]

    assert context["capabilities"]["drop"] == sidecar()["cap_drop"]
    assert sorted(context["capabilities"]["add"]) == sorted(sidecar()["cap_add"])
    assert context["readOnlyRootFilesystem"] is sidecar()["read_only"]


def test_the_pod_mounts_every_volume_that_it_names_and_gives_the_goodbye_its_time() -> None:
    spec = pod()["spec"]
    inner = spec["template"]["spec"]
    named = {volume["name"] for volume in inner["volumes"]}
    named |= {claim["metadata"]["name"] for claim in spec["volumeClaimTemplates"]}
    mounted = {
        mount["name"]
        for container in inner["containers"]
        for mount in container.get("volumeMounts", ())
    }

    assert mounted == named
    assert f"{inner['terminationGracePeriodSeconds']}s" == sidecar()["stop_grace_period"]
