docker run --rm -d --name=locked --read-only --cap-drop=ALL --cap-add=CHOWN \
  --cap-add NET_ADMIN --security-opt no-new-privileges --security-opt apparmor=docker-default \
  --tmpfs /run:rw,noexec,nosuid,size=65536k --user 65534:65534 \
  --pids-limit 50 --memory 64m --memory-swap 64m --cpus .5 example.com/tool:1 serve
