# Stages, each on the one before where it says so:
#   build    the virtual environment
#   agent    the agent and user-space WireGuard, without Keybase
#   testbed  agent, the Keybase simulator and the programs of compose/*.yaml
ARG BASE=debian:trixie-slim

FROM ${BASE} AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3 python3-venv \
    && rm -rf /var/lib/apt/lists/*
RUN python3 -m venv /opt/kbwg
COPY pyproject.toml README.md /src/
COPY nat /src/nat
COPY sidecar /src/sidecar
RUN /opt/kbwg/bin/pip install --no-cache-dir /src

FROM ${BASE} AS agent
LABEL org.opencontainers.image.title="kbwg" \
      org.opencontainers.image.description="A WireGuard mesh of a Keybase team, without a coordination server"
RUN apt-get update \
    && apt-get install -y --no-install-recommends \
        ca-certificates iproute2 nftables python3 tini wireguard-go wireguard-tools \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /opt/kbwg /opt/kbwg
ENV PATH=/opt/kbwg/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
VOLUME /var/lib/kbwg
# Chat may be down for hours without harm: only an agent that does not answer is unhealthy.
HEALTHCHECK --interval=30s --timeout=10s --start-period=90s CMD ["kbwg", "status", "--json"]
ENTRYPOINT ["tini", "--"]
CMD ["kbwg", "run"]

FROM agent AS testbed
RUN apt-get update \
    && apt-get install -y --no-install-recommends conntrack coturn iperf3 iputils-ping procps tcpdump \
    && rm -rf /var/lib/apt/lists/*
RUN /opt/kbwg/bin/pip install --no-cache-dir pyyaml
COPY integration /opt/testbed/integration
ENV PYTHONPATH=/opt/testbed
RUN printf '#!/bin/sh\nexec python3 -m integration.node "$@"\n' > /usr/local/bin/kbwg-node \
    && chmod +x /usr/local/bin/kbwg-node
HEALTHCHECK NONE
