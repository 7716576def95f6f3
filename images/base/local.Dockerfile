# Made by `preloop images build base` from parts of the machine it runs on: no registry is needed.
ARG BASE=scratch
FROM ${BASE}
ADD rootfs.tar /
ENV PATH=/usr/local/bin:/usr/bin:/bin HOME=/home/agent LANG=C.UTF-8 \
    SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt
USER 1000:1000
WORKDIR /workspace
