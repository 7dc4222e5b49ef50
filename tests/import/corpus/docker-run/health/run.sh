docker run --name db --health-cmd 'pg_isready -U postgres' --health-interval=10s --health-retries 5 \
  --health-start-period 30s --health-timeout 3s --stop-signal SIGINT --stop-timeout 60 \
  --ulimit nofile=1024:4096 --ulimit core=-1 --sysctl net.ipv4.ip_forward=1 --sysctl kernel.shmall=100 \
  --shm-size 1g --oom-score-adj=-200 --device /dev/dri --gpus all -h db.example -w /tmp postgres:16
