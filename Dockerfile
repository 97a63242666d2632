# Stages, each on the one before where it says so:
#   build     the virtual environment
#   agent     the agent and user-space WireGuard, without Keybase
#   testbed   agent, the Keybase simulator and the programs of compose/*.yaml
#   keybase-* one directory /opt/keybase each: the Keybase programs, from where KEYBASE says
#   sidecar   agent and Keybase under one supervisor: what a host runs
#
# Up to `testbed` nothing but Debian and the locked Python packages is fetched, and the legacy
# builder does them too. `sidecar` needs BuildKit, which builds only the source that is chosen.
ARG BASE=debian:trixie-slim
# Where keybase and kbfsfuse come from: image (the vendor's), package (the vendor's, its signature
# checked) or standin (the simulator's programs, for tests).
ARG KEYBASE=image
ARG KEYBASE_IMAGE=keybaseio/client:stable

FROM ${BASE} AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends \
        binutils python3 python3-pip python3-setuptools \
    && rm -rf /var/lib/apt/lists/*
# Without pip in it; and the interpreter of the agent's stage is the same one.
RUN python3 -m venv --without-pip /opt/kbwg
COPY requirements.lock /src/
# Every package by version and hash: the same tree gives the same environment.
RUN python3 -m pip --python /opt/kbwg/bin/python install --no-cache-dir --no-compile \
        --only-binary :all: --require-hashes --requirement /src/requirements.lock
COPY pyproject.toml README.md /src/
COPY nat /src/nat
COPY sidecar /src/sidecar
RUN python3 -m pip wheel --no-cache-dir --no-build-isolation --no-deps --wheel-dir /wheels /src \
    && python3 -m pip --python /opt/kbwg/bin/python install --no-cache-dir --no-compile --no-deps \
        --no-index /wheels/*.whl \
    && python3 -m pip --python /opt/kbwg/bin/python check \
    && python3 -m compileall -q --invalidation-mode unchecked-hash /opt/kbwg \
    # A third of the size is debug symbols and what the libraries were generated from.
    && find /opt/kbwg \( -name '*.pyx' -o -name '*.pxd' -o -name '*.c' -o -name '*.h' \) -delete \
    && find /opt/kbwg -name '*.so' -exec strip --strip-unneeded {} +

FROM ${BASE} AS agent
ARG VERSION=0.1.0
ARG REVISION=unknown
RUN apt-get update \
    && apt-get install -y --no-install-recommends \
        ca-certificates iproute2 nftables python3 tini wireguard-go wireguard-tools \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/*
COPY --from=build /opt/kbwg /opt/kbwg
ENV PATH=/opt/kbwg/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONDONTWRITEBYTECODE=1
LABEL org.opencontainers.image.title="kbwg" \
      org.opencontainers.image.description="A WireGuard mesh of a Keybase team, without a coordination server" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="docker.io/library/debian:trixie-slim"
VOLUME /var/lib/kbwg
# Chat may be down for hours without harm: only an agent that does not answer is unhealthy.
HEALTHCHECK --interval=30s --timeout=10s --start-period=90s CMD ["kbwg", "status", "--json"]
ENTRYPOINT ["tini", "--"]
CMD ["kbwg", "run"]

FROM agent AS testbed
RUN apt-get update \
    && apt-get install -y --no-install-recommends conntrack coturn iperf3 iputils-ping miniupnpd-nftables procps tcpdump \
    && rm -rf /var/lib/apt/lists/*
COPY integration /opt/testbed/integration
ENV PYTHONPATH=/opt/testbed
RUN printf '#!/bin/sh\nexec python3 -m integration.node "$@"\n' > /usr/local/bin/kbwg-node \
    && chmod +x /usr/local/bin/kbwg-node
HEALTHCHECK NONE
