# Made by `preloop images build codex`: the two programs Codex needs, out of the npm package pinned beside this file.
ARG BASE=preloop/base
FROM ${BASE}
ADD rootfs.tar /
