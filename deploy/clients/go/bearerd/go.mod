module bearerd

go 1.18
