docker run -u 100000:100000 --memory 1g --memory-reservation 512m --memory-swap -1 --tty=false --name "Odd Name!" example/odd
