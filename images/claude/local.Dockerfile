# Made by `preloop images build claude` out of the npm packages pinned beside this file.
ARG BASE=preloop/base
FROM ${BASE}
ADD rootfs.tar /
