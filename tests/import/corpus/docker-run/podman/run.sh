sudo podman run --replace --name cache --secret cache_pass,type=env --userns=keep-id \
  --read-only --tz=Europe/Paris --pull=newer --label io.containers.autoupdate=registry \
  -v cache.d:/data:Z,U --device-read-bps /dev/sda:1mb --blkio-weight 500 quay.io/example/cache:2
