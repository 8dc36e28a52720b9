-- wrk's side of bench/soak.py: every request has a number of its own, and every answer is checked.
-- A right answer is "<backend> <path>?n=<number>" for a number that is outstanding.

local paths = { "/fixed", "/split", "/moving" }
local counter = 0
local outstanding = {}
local threads = {}

function setup(thread)
    table.insert(threads, thread)
    thread:set("id", #threads)
end

function init(args)
    wrong = 0
    checked = 0
    example = ""
end

function request()
    counter = counter + 1
    local number = id .. "-" .. counter
    outstanding[number] = true
    return wrk.format("GET", paths[counter % #paths + 1] .. "?n=" .. number)
end

function response(status, headers, body)
    checked = checked + 1
    local number = string.match(body, "^[ab] /[a-z]+%?n=([0-9]+%-[0-9]+)$")
    if status == 200 and number and outstanding[number] then
        outstanding[number] = nil
    else
        wrong = wrong + 1
        example = status .. " " .. string.sub(body, 1, 200)
    end
end

function done(summary, latency, requests)
    local wrong, checked, example = 0, 0, ""
    for _, thread in ipairs(threads) do
        wrong = wrong + thread:get("wrong")
        checked = checked + thread:get("checked")
        if thread:get("example") ~= "" then example = thread:get("example") end
    end
    local e = summary.errors
    io.write(string.format(
        "SOAK requests=%d checked=%d wrong=%d connect=%d read=%d write=%d status=%d timeout=%d microseconds=%d p50=%d p99=%d max=%d\n",
        summary.requests, checked, wrong, e.connect, e.read, e.write, e.status, e.timeout, summary.duration,
        latency:percentile(50), latency:percentile(99), latency.max))
    if example ~= "" then io.write("EXAMPLE " .. example .. "\n") end
end
