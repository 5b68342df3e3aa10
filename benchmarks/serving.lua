-- For wrk: posts the lines of a file, each the body of a request, in turn, and sums up in a line of JSON.
--     wrk -c8 -d10s --timeout 120s -s benchmarks/serving.lua http://127.0.0.1:8000 -- bodies.jsonl
local bodies, number, headers = {}, 0, {["Content-Type"] = "application/json"}

function init(args)
   for line in io.lines(args[1]) do bodies[#bodies + 1] = line end
end

function request()
   number = number % #bodies + 1
   return wrk.format("POST", "/predict", headers, bodies[number])
end

function done(summary, latency)
   local errors = summary.errors
   local form = '{"answers": %d, "seconds": %f, "half": %f, "last": %f, "failed": %d}\n'
   local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
   local half, last = latency:percentile(50) / 1e6, latency:percentile(99) / 1e6
   io.write(form:format(summary.requests, summary.duration / 1e6, half, last, failed))
end
