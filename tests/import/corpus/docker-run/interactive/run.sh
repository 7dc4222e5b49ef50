docker container run -it --rm --privileged --pid=host --ipc host --uts host --userns host alpine:3 sh -l
