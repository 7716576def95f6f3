# Made by `preloop images build scripted`. Compiled here, as the root file system of a run can't be written to.
ARG BASE=preloop/base
FROM ${BASE}
USER root
ADD rootfs.tar /
ENV PYTHONPATH=/opt/agent/site PYTHONUNBUFFERED=1
RUN ["python3", "-m", "compileall", "-q", "-j", "0", "--invalidation-mode", "unchecked-hash", "/opt/python/lib", "/opt/agent"]
USER 1000:1000
