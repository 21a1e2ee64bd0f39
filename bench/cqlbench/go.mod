module zdm-proxy/bench

go 1.22
