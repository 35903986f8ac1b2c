-- What wrk sends: transfers between any two wallets, transfers into one, or whatever a list names.
-- Arguments: mode ("transfer", "hot" or "get"), the file with tokens, a word that makes keys
-- distinct, and how long each connection rests before each request, in milliseconds on average.

local people, lines = {}, {}
local mode, run, rest
local number = 0
local thread_count = 0

function setup(thread)
   thread:set("id", thread_count)
   thread_count = thread_count + 1
end

local function split(line)
   local parts = {}
   for part in line:gmatch("[^\t]+") do parts[#parts + 1] = part end
   return parts
end

function init(args)
   mode, run, rest = args[1], args[3] .. "-" .. id, tonumber(args[4])
   math.randomseed(os.time() * 1000 + id)
   for line in io.lines(args[2]) do
      local parts = split(line)
      local authorization = "Authorization: Bearer " .. parts[1] .. "\r\n"
      if mode == "get" then
         lines[#lines + 1] = "GET " .. parts[2] .. " HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            .. authorization .. "\r\n"
      else
         for n = 2, #parts do
            people[#people + 1] = { authorization = authorization, wallet = parts[n] }
         end
      end
   end
   if rest == 0 then delay = nil end
end

-- Rests are spread as chance arrivals are, so that connections do not march in step.
function delay()
   return math.floor(-rest * math.log(1 - math.random()) + 0.5)
end

local function transfer()
   local from = people[math.random(#people)]
   local to = mode == "hot" and people[1] or people[math.random(#people)]
   if from == to then return transfer() end
   number = number + 1
   local body = '{"from_wallet_id":"' .. from.wallet .. '","to_wallet_id":"' .. to.wallet
      .. '","amount":"0.01","currency":"INR"}'
   return "POST /api/v1/transactions/transfer HTTP/1.1\r\nHost: 127.0.0.1\r\n"
      .. from.authorization .. "Idempotency-Key: " .. run .. "-" .. number
      .. "\r\nContent-Type: application/json\r\nContent-Length: " .. #body .. "\r\n\r\n" .. body
end

function request()
   if mode == "get" then return lines[math.random(#lines)] end
   return transfer()
end

function done(summary, latency, requests)
   local errors = summary.errors
   io.write(string.format(
      '{"requests":%d,"seconds":%.6f,"failed":%d,"broken":%d,"p50_ms":%.3f,"p99_ms":%.3f,"max_ms":%.3f}\n',
      summary.requests, summary.duration / 1e6, errors.status,
      errors.connect + errors.read + errors.write + errors.timeout,
      latency:percentile(50) / 1000, latency:percentile(99) / 1000, latency.max / 1000))
end
