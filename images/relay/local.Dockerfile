# Made by `preloop images build` beside every other image: what stands between the agents and the control plane.
ARG BASE=preloop/base
FROM ${BASE}
ADD rootfs.tar /
ENTRYPOINT ["node", "/opt/relay/relay.js"]
