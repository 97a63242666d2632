"""The status document is what its published schema says."""

import json
from datetime import UTC, datetime
from pathlib import Path

import sidecar.status
from sidecar.status import SCHEMA_VERSION, SelfStatus, Status


def test_the_published_schema_is_that_of_the_model() -> None:
    published = Path(sidecar.status.__file__).with_name("status.schema.json")

    assert json.loads(published.read_text()) == Status.model_json_schema(
        mode="serialization", by_alias=True
    )


def test_a_document_comes_back_and_names_its_version() -> None:
    status = Status(
        agent_version="0",
        started=datetime(2026, 1, 1, tzinfo=UTC),
        self_=SelfStatus(
            username="alice",
            device="laptop",
            ip=None,
            public_key="key",
            listen_port=1,
            candidates=(),
            backend="kernel",
            interface="kbwg0",
            team="acme",
            subnet="100.64.7.0/24",
        ),
        peers=(),
        health=(),
    )
    text = status.model_dump_json(by_alias=True)

    assert Status.model_validate_json(text) == status
    assert json.loads(text)["version"] == SCHEMA_VERSION
    assert json.loads(text)["self"]["username"] == "alice"
