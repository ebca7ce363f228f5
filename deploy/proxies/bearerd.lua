-- Asks bearerd before each request; txn.bearer is then the value of its Authorization header, or is
-- not there. HAProxy has no directive for that.

local socket = "unix@/run/bearerd/proxies.sock"
local patience_ms = 2000

core.register_action("bearerd", { "http-req" }, function(txn)
    txn:unset_var("txn.bearer")
    local answer = core.httpclient():get {
        url = "http://bearerd/v1/auth",
        dst = socket,
        timeout = patience_ms,
    }
    if answer and answer.status == 200 then
        txn:set_var("txn.bearer", answer.headers["authorization"][0])
    end
end)
