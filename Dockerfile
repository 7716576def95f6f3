# The control plane as an image. The base is an argument, so that a mirror or a locally built image can stand in; it needs
# Python 3.11 to 3.13 with pip. No BuildKit features: any engine builds it.
ARG BASE=python:3.11-slim
FROM ${BASE}
# requirements-extras.lock brings every extra: PostgreSQL, Kubernetes, object storage, traces, sign-in, more channels.
ARG LOCK=requirements.lock

ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /app

# Libraries first: this layer changes only with the lock. They have a venv of their own, away from the base's packages.
COPY requirements.lock requirements-extras.lock ./
RUN python3 -m venv /app/.venv \
 && /app/.venv/bin/python -m pip install --quiet --require-hashes --no-deps -r ${LOCK}

COPY LICENSE ./
COPY kit kit
COPY ledger ledger
COPY control control
COPY gateway gateway
COPY mcp_server mcp_server
COPY runner runner
COPY access access
COPY web web
COPY preloop preloop
COPY images images
COPY examples examples
RUN printf '#!/bin/sh\nexec /app/.venv/bin/python -P -m preloop "$@"\n' > /usr/local/bin/preloop \
 && chmod 755 /usr/local/bin/preloop \
 && /app/.venv/bin/python -m compileall -q --invalidation-mode unchecked-hash \
    access control gateway kit ledger mcp_server preloop runner web \
 && echo /app > "$(/app/.venv/bin/python -c 'import site; print(site.getsitepackages()[0])')/preloop-checkout.pth" \
 && echo 'preloop:x:10001:10001::/data:/usr/sbin/nologin' >> /etc/passwd \
 && echo 'preloop:x:10001:' >> /etc/group \
 && mkdir /data && chown 10001:10001 /data

# Inside a container "127.0.0.1" reaches nobody, so the people's listener binds all of this container's addresses; who may
# come in is decided by what you publish, and by PRELOOP_PUBLIC_URL, the only Host it answers to besides localhost.
ENV PRELOOP_DATA=/data PRELOOP_SERVER__HOST=0.0.0.0
VOLUME /data
WORKDIR /data
USER 10001:10001
EXPOSE 8080 8081
ENTRYPOINT ["preloop"]
CMD ["up"]
