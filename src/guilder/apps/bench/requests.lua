-- What wrk sends: transfers between any two wallets, transfers into one, a thousand postings at
-- once, or whatever a list names.
-- Arguments: the mode ("transfer", "hot", "bulk" or "get"), the file, a word that makes keys
-- distinct, and how long each connection rests before each request, in milliseconds on average.

local IN_BULK = 1000
local threads, operator, people, lines = {}, nil, {}, {}
local mode, run, rest
local number = 0
refused = 0

function setup(thread)
   threads[#threads + 1] = thread
   thread:set("id", #threads)
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
      elseif #parts == 1 then
         operator = authorization
      else
         for n = 2, #parts do
            people[#people + 1] = { authorization = authorization, wallet = parts[n] }
         end
      end
   end
   if rest == 0 then delay = nil end
   if mode ~= "bulk" then response = nil end
end

-- Rests are spread as chance arrivals are, so that connections do not march in step.
function delay()
   return math.floor(-rest * math.log(1 - math.random()) + 0.5)
end

local function pair()
   local from = people[math.random(#people)]
   local to = mode == "hot" and people[1] or people[math.random(#people)]
   if from == to then return pair() end
   return from, to
end

local function post(path, authorization, body)
   number = number + 1
   return "POST " .. path .. " HTTP/1.1\r\nHost: 127.0.0.1\r\n" .. authorization
      .. "Idempotency-Key: " .. run .. "-" .. number
      .. "\r\nContent-Type: application/json\r\nContent-Length: " .. #body .. "\r\n\r\n" .. body
end

local function transfer()
   local from, to = pair()
   return post("/api/v1/transactions/transfer", from.authorization,
      '{"from_wallet_id":"' .. from.wallet .. '","to_wallet_id":"' .. to.wallet
      .. '","amount":"0.01","currency":"INR"}')
end

local function bulk()
   local items = {}
   for n = 1, IN_BULK do
      local from, to = pair()
      items[n] = '{"entries":[{"account_id":"' .. from.wallet
         .. '","direction":"debit","amount":"0.01"},{"account_id":"' .. to.wallet
         .. '","direction":"credit","amount":"0.01"}]}'
   end
   return post("/api/v1/ledger/transactions/bulk", operator,
      '{"transactions":[' .. table.concat(items, ",") .. "]}")
end

function request()
   if mode == "get" then return lines[math.random(#lines)] end
   if mode == "bulk" then return bulk() end
   return transfer()
end

-- A bulk answer is good when nothing in it was refused.
function response(status, headers, body)
   if not body:find('"refused":0', 1, true) then refused = refused + 1 end
end

function done(summary, latency, requests)
   local errors, failed = summary.errors, summary.errors.status
   for _, thread in ipairs(threads) do failed = math.max(failed, thread:get("refused")) end
   io.write(string.format(
      '{"requests":%d,"seconds":%.6f,"failed":%d,"broken":%d,"p50_ms":%.3f,"p99_ms":%.3f,"max_ms":%.3f}\n',
      summary.requests, summary.duration / 1e6, failed,
      errors.connect + errors.read + errors.write + errors.timeout,
      latency:percentile(50) / 1000, latency:percentile(99) / 1000, latency.max / 1000))
end
