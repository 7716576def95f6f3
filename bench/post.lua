-- wrk: one POST body over and over. Arguments: the file of the body, then "name: value" headers. The last line it prints
-- is read by bench/load.py.
function init(args)
    local file = assert(io.open(args[1], "rb"))
    wrk.method, wrk.body = "POST", file:read("*a")
    file:close()
    wrk.headers["content-type"] = "application/json"
    for number = 2, #args do
        local name, value = args[number]:match("^([^:]+): (.*)$")
        wrk.headers[name] = value
    end
    request_ = wrk.format()
end

function request()
    return request_
end

function done(summary, latency, requests)
    local errors = summary.errors
    local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
    io.write(string.format("figures %d %d %d %.0f %.0f\n", summary.requests, failed, summary.duration,
        latency:percentile(50), latency:percentile(99)))
end
