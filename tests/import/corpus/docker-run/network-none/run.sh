docker run --network none --rm --init -u root busybox:1.36 sh -c "echo $(hostname) $UNKNOWN"
