docker run --mount type=bind,source=/srv/data,target=/data,readonly,bind-propagation=rslave \
  --mount type=volume,src=pg,dst=/var/lib/postgresql/data \
  --mount type=tmpfs,destination=/cache,tmpfs-size=1g,tmpfs-mode=0700 \
  --mount 'type=npipe,source=x,target=/y' --volumes-from other \
  -v /anonymous --volume-driver nfs postgres:16
