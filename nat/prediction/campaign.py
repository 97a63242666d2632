"""One campaign of either side, made from its plan and within its budget."""

from random import Random
from typing import Final, assert_never

from ..path.credentials import IceCredentials, Role
from .budget import Budget
from .easy import PROBES, EasyCampaign
from .hard import HardCampaign
from .plan import EasyPlan, HardPlan, Plan

WORTHWHILE: Final = 256
"""Probes below which a campaign is not begun: they would be more likely to fail than not."""

Campaign = HardCampaign | EasyCampaign


def make_campaign(
    plan: Plan,
    *,
    credentials: IceCredentials,
    role: Role,
    budget: Budget,
    rng: Random,
    now: float,
) -> Campaign | None:
    """Begin a campaign; `None`: the budget of its addresses is spent."""
    match plan:
        case HardPlan(base=base, target=target):
            return HardCampaign(
                credentials=credentials, role=role, base=base, target=target, rng=rng, now=now
            )
        case EasyPlan(base=base, addresses=addresses):
            least = min(budget.left(ip, now) for ip in addresses)
            probes = min(PROBES, least * len(addresses))
            if probes < WORTHWHILE:
                return None
            return EasyCampaign(
                credentials=credentials,
                role=role,
                base=base,
                addresses=addresses,
                probes=probes,
                rng=rng,
                now=now,
            )
        case _:
            assert_never(plan)


def settle(campaign: Campaign, budget: Budget, now: float) -> None:
    """Charge what a campaign has sent to the addresses that got it."""
    if isinstance(campaign, EasyCampaign):
        for ip in campaign.addresses:
            budget.spend(ip, -(-campaign.sent // len(campaign.addresses)), now)
