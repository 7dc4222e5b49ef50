docker run --entrypoint /bin/sh --env-file ./app.env --add-host db:192.0.2.5 --dns 192.0.2.53 \
  --dns-search example.com --dns-opt ndots:2 --link old:legacy --log-driver syslog --cpu-shares 2048 \
  --cpu-period 50000 --cpu-quota 25000 --cpuset-cpus 0,2 --group-add audio localhost/mine:dev -c 'exec app "$HOME"'
