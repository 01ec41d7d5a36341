-- wrk's script: every request asks a proxy for the absolute URL in the first argument; the result is one line of JSON.

function init(args)
   request_bytes = wrk.format("GET", args[1], { ["Host"] = args[1]:match("//([^/]+)") })
end

function request()
   return request_bytes
end

function done(summary, latency, requests)
   local errors = summary.errors
   local took_s = summary.duration / 1e6
   io.write(string.format(
      '{"count": %d, "took_s": %f, "per_s": %f, "gib_per_s": %f, "p50_us": %d, "p99_us": %d, "errors": %d}\n',
      summary.requests, took_s, summary.requests / took_s, summary.bytes / took_s / 2^30,
      latency:percentile(50), latency:percentile(99),
      errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
