#!/bin/sh
# Run once before everything else, by compose.scale.yaml: makes what nobody has to know, each in a volume that only those
# get who use it. What is there stays.
set -eu
random() { head -c 32 /dev/urandom | base64 | tr '+/' '-_' | tr -d '\n'; }

if [ ! -s /made/database/url ]; then
    password=$(random | tr -d '=')
    printf %s "$password" >/made/database/password
    printf %s "postgresql+asyncpg://preloop:$password@database/preloop" >/made/database/url
fi
[ -s /made/web/seal_key ] || random >/made/web/seal_key # a Fernet key: what secrets of hooks are sealed with
chown 10001:10001 /made/blobs
