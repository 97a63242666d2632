"""The fake back end keeps the contract of the real ones."""

import asyncio

import pytest

from tests.contracts.backend import CONTRACT, Case
from tests.support.fake_backend import FakeBackend


@pytest.mark.parametrize("case", CONTRACT, ids=lambda case: case.__name__)
def test_the_fake_keeps_the_contract(case: Case) -> None:
    async def scenario() -> None:
        await case(FakeBackend())

    asyncio.run(scenario())
