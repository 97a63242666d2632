"""A Keybase without Keybase: the CLI's wire behaviour over one small server.

`bin/keybase` is the executable. What the real CLI does itself happens in that process: `cli`
(arguments, exit codes), `rpc` (dialling the service), `api` and `options` (the JSON APIs), `gojson`
(Go's decoder), `listen`, `identity`, `files`. What the real service and the real servers know is
kept by `server`: `world` (users, devices, teams), `chat`, `kbfs`, `service` (what one device's
service answers: `reading`, `posting`, `team_calls`, `file_calls`), `cache` (what that service
remembers), `rates` (how often it may ask), `views` (JSON shapes), `events` and `disorder` (pushes),
`laboratory` and `message_orders` (faults on command).

    python -m integration.keybase_simulator.server --root DIR     serve; `seed` tells the environment
    python -m integration.keybase_simulator.admin VERB ARGUMENT…  faults and looks; `SimulatorAdmin`
    paths.environment(root, "alice/laptop")                       environment of a device's programs

The sections that comments and tests name are those of the project's notes on the `keybase` CLI.
"""
