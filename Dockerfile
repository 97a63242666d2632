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
        ca-certificates iproute2 libcap2-bin nftables python3 tini wireguard-go wireguard-tools \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/*
# Everything but the supervisor runs as this user. Its group alone may use the launcher, a setpriv
# that may hand on the agent's two capabilities where the container is started as the user already;
# permitted only: with them effective it could not even be run where one is not granted.
RUN useradd --uid 1000 --user-group --no-create-home --home-dir /var/lib/kbwg/keybase kbwg \
    && install -d -o kbwg -g kbwg -m 700 /var/lib/kbwg /var/lib/kbwg/keybase \
    && install -d -o kbwg -g root -m 2775 /run/kbwg && install -d -o kbwg -g kbwg /run/wireguard \
    && install -D -o root -g kbwg -m 750 /usr/bin/setpriv /usr/local/libexec/kbwg/launch \
    && setcap cap_net_admin,cap_net_raw=p /usr/local/libexec/kbwg/launch
COPY --from=build /opt/kbwg /opt/kbwg
ENV PATH=/opt/kbwg/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    KBWG_KEYBASE_SERVICE=existing
LABEL org.opencontainers.image.title="kbwg" \
      org.opencontainers.image.description="A WireGuard mesh of a Keybase team, without a coordination server" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="docker.io/library/debian:trixie-slim"
VOLUME /var/lib/kbwg
# Chat may be down for hours without harm: only an agent that does not answer is unhealthy.
HEALTHCHECK --interval=30s --timeout=10s --start-period=90s CMD ["kbwg", "status", "--json"]
ENTRYPOINT ["tini", "--"]
CMD ["kbwg", "supervise"]

FROM agent AS testbed
RUN apt-get update \
    && apt-get install -y --no-install-recommends \
        conntrack coturn iperf3 iputils-ping miniupnpd-nftables procps python3-cryptography tcpdump \
    && rm -rf /var/lib/apt/lists/* \
    # Certificates of the labs' servers; what the agent has of its own comes first.
    && echo /usr/lib/python3/dist-packages > "$(echo /opt/kbwg/lib/python3*/site-packages)/testbed.pth"
COPY integration /opt/testbed/integration
ENV PYTHONPATH=/opt/testbed
RUN printf '#!/bin/sh\nexec python3 -m integration.node "$@"\n' > /usr/local/bin/kbwg-node \
    && chmod +x /usr/local/bin/kbwg-node
# For people, and for `kbwg peers`: the command line of the container's own Keybase device.
RUN printf '%s\n' '#!/bin/sh' 'export KEYBASE_ALLOW_ROOT=1' \
        'export KEYBASE_SOCKET_FILE="$SIMULATOR_ROOT/$KEYBASE_SIMULATOR_DEVICE/keybased.sock"' \
        'exec /opt/testbed/integration/keybase_simulator/bin/keybase "$@"' > /usr/local/bin/keybase \
    && chmod +x /usr/local/bin/keybase
HEALTHCHECK NONE

# The simulator's programs in the place of the vendor's.
FROM ${BASE} AS keybase-standin
COPY integration/__init__.py /opt/keybase/integration/
COPY integration/keybase_simulator /opt/keybase/integration/keybase_simulator
RUN mkdir /opt/keybase/bin \
    && ln -s ../integration/keybase_simulator/bin/keybase ../integration/keybase_simulator/bin/kbfsfuse \
        /opt/keybase/bin/

# The vendor's package, if its signature is good: by the code signing key, known by its fingerprint
# (https://keybase.io/docs/server_security/code_signing_key.asc). Of its contents two programs are
# taken; its daemons, its user interface and its cron job are not.
FROM ${BASE} AS keybase-package
ARG KEYBASE_PACKAGE=https://prerelease.keybase.io/keybase_amd64.deb
ARG KEYBASE_SIGNING_KEY=https://keybase.io/docs/server_security/code_signing_key.asc
ARG KEYBASE_FINGERPRINT=222B85B0F90BE2D24CFEB93F47484E50656D16C7
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates curl gpg gpgv \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /tmp/keybase
RUN curl -fsSL --proto =https -o key.asc "$KEYBASE_SIGNING_KEY" \
    && curl -fsSL --proto =https -o keybase.deb "$KEYBASE_PACKAGE" \
    && curl -fsSL --proto =https -o keybase.deb.sig "$KEYBASE_PACKAGE.sig" \
    && gpg --batch --dearmor --output key.gpg key.asc \
    && gpgv --keyring ./key.gpg --status-fd 3 keybase.deb.sig keybase.deb 3> status \
    && grep -q "^\[GNUPG:\] VALIDSIG .*$KEYBASE_FINGERPRINT\$" status \
    && dpkg -x keybase.deb root \
    && install -D -t /opt/keybase/bin root/usr/bin/keybase root/usr/bin/kbfsfuse

FROM ${KEYBASE_IMAGE} AS keybase-image
USER root
RUN mkdir -p /opt/keybase/bin && cp /usr/bin/keybase /usr/bin/kbfsfuse /opt/keybase/bin/

FROM keybase-${KEYBASE} AS keybase

FROM agent AS sidecar
COPY --from=keybase /opt/keybase /opt/keybase
ENV PATH=/opt/kbwg/bin:/opt/keybase/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    KBWG_KEYBASE_SERVICE=own \
    KBWG_KEYBASE_HOME=/var/lib/kbwg/keybase
