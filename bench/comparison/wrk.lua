-- wrk's side of bench/comparison/wrk.py. Arguments: the file with the paths, the method, the size of the body in
-- bytes, "reconnect" or "keep-alive", and the file with the header lines that requests have in turn, which may be empty.

local requests = {}
local turn = 0

function init(args)
    wrk.method = args[2]
    if tonumber(args[3]) > 0 then
        wrk.body = string.rep("x", tonumber(args[3]))
    end
    if args[4] == "reconnect" then
        wrk.headers["Connection"] = "close"
    end
    local fields = {}
    for line in io.lines(args[5]) do
        fields[#fields + 1] = line
    end
    for path in io.lines(args[1]) do
        for at = 1, math.max(#fields, 1) do
            if fields[at] then
                local name, value = string.match(fields[at], "^([^:]+): (.*)$")
                wrk.headers[name] = value
            end
            requests[#requests + 1] = wrk.format(nil, path)
        end
    end
    if #requests == 1 then
        wrk.path = string.match(requests[1], "^%S+ (%S+)")
        return
    end
    -- Defined only where it is needed: with it wrk calls Lua for every request.
    function request()
        turn = turn % #requests + 1
        return requests[turn]
    end
end

function done(summary, latency, _)
    local errors = summary.errors
    io.write(string.format(
        "COUNTED requests=%d microseconds=%d connect=%d read=%d write=%d status=%d timeout=%d p50=%d p99=%d\n",
        summary.requests, summary.duration, errors.connect, errors.read, errors.write, errors.status, errors.timeout,
        latency:percentile(50), latency:percentile(99)))
end
