"""The container's keeper (design D12): who lives how long, and nothing about networks.

    tini ─▶ kbwg supervise ─▶ keybase service     as the unprivileged user, may gain nothing
                           ├▶ kbfsfuse            likewise; without FUSE
                           └▶ kbwg run            likewise, with NET_ADMIN and NET_RAW

Only what died is started again, later and later if it keeps dying; so the death of one touches no
other, and none touches a tunnel: the kernel's WireGuard is no process, and wireguard-go is a child
of tini. The agent starts once somebody is logged in; it ends first, the service last.
"""
