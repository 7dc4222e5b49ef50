#!/bin/sh
docker run -d --name web --restart unless-stopped \
  -p 8080:8080 -p 443:8443/tcp \
  -v web_content:/usr/share/nginx/html:ro \
  -v "$PWD/nginx.conf:/etc/nginx/nginx.conf:ro" \
  -e TZ=Europe/Berlin -e 'GREETING=hello world' \
  nginx:1.27-alpine nginx -g 'daemon off;'
