"""Labs that run `compose/*.yaml`, the Keybase simulator, and black-box tests of the agent.

Black box: nothing here imports `nat` or `sidecar`, but for `sidecar.status`, to parse what the
agent reports.
"""
