module with-token

go 1.18

require bearerd v0.0.0

replace bearerd => ../bearerd
