"""The world that the environment describes.

SIMULATOR_ROOT        directory of the sockets, /run/keybase-simulator
SIMULATOR_TEAM        the team, acme.vpn
SIMULATOR_MEMBERS     alice=owner bob=writer carol=reader
SIMULATOR_DEVICES     alice/laptop bob/server; separated by commas where a name has a space
SIMULATOR_PAPERKEYS   alice: one two three four; bob: five six seven eight
SIMULATOR_PEERS_JSON  content of the team's peers.json; unset: there is no such file
SIMULATOR_WORLD       all of it as JSON, for more: {"teams": {"acme.vpn": {"alice": "owner"}},
                      "devices": ["alice/laptop", {"name": "bob/x y", "type": "backup"}],
                      "files": {"/keybase/team/acme.vpn/peers.json": "[]"}}
SIMULATOR_TIME_SCALE  what Keybase's own durations are multiplied with (KBFS's second of delay
                      and minute of waiting, caches' ten minutes), 1
SIMULATOR_SEED        of what is drawn at random (`disorder`), 0; ids follow from names alone
"""

import json
from collections.abc import Mapping

from .accounts import Accounts
from .world import Team, World

DEFAULT_ROOT = "/run/keybase-simulator"
DEFAULT_TEAM = "acme.vpn"


def world_from_environment(environment: Mapping[str, str], now: float) -> World:
    """Make the world.

    Raises:
        ServiceError, ValueError: a device, a role or the JSON is malformed.
    """
    world = World(
        float(environment.get("SIMULATOR_TIME_SCALE") or "1"),
        int(environment.get("SIMULATOR_SEED") or "0"),
    )
    if environment.get("SIMULATOR_WORLD"):
        _from_json(world, environment["SIMULATOR_WORLD"], now)
        return world
    name = environment.get("SIMULATOR_TEAM") or DEFAULT_TEAM
    team = world.teams[name] = Team(name)
    for member in environment.get("SIMULATOR_MEMBERS", "").split():
        username, _, role = member.partition("=")
        team.set_role(username, role or "writer", now)
    devices = environment.get("SIMULATOR_DEVICES", "")
    for label in devices.split(",") if "," in devices else devices.split():
        username = world.add_device(label.strip()).username
        if username not in team.roles:
            team.set_role(username, "writer", now)
    peers = environment.get("SIMULATOR_PEERS_JSON")
    if peers:
        path = f"/keybase/team/{name}/peers.json"
        world.kbfs.publish(path, peers.encode(), _first_owner(team), now)
    return world


def accounts_from_environment(environment: Mapping[str, str], world: World) -> Accounts:
    """Make the paper keys.

    Raises:
        ServiceError: a phrase is too short.
    """
    accounts = Accounts(world)
    for entry in environment.get("SIMULATOR_PAPERKEYS", "").split(";"):
        username, colon, phrase = entry.strip().partition(":")
        if colon:
            accounts.add_paper_key(username.strip(), phrase)
    return accounts


def _from_json(world: World, text: str, now: float) -> None:
    described = json.loads(text)
    for name, members in described.get("teams", {}).items():
        team = world.teams[name] = Team(name)
        for username, role in members.items():
            team.set_role(username, role, now)
    for device in described.get("devices", []):
        if isinstance(device, str):
            world.add_device(device)
        else:
            world.add_device(device["name"], device.get("type", "desktop"))
    for path, content in described.get("files", {}).items():
        name = path.split("/")[3]
        world.kbfs.publish(path, content.encode(), _first_owner(world.teams[name]), now)


def _first_owner(team: Team) -> str:
    return next((user for user, role in team.roles.items() if role == "owner"), "")
