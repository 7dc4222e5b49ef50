# The network is not needed any more.
docker network create back
docker run -d --name api --network back -p 8000:8000 --restart=on-failure:5 example/api:1
docker run -d --name front --network back -p 8001:8001 --restart always example/front:1
docker volume create x && docker ps
