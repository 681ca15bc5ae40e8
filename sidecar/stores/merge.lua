-- Count what was admitted elsewhere (in a replica's memory, while this server was away).
--
-- KEYS   one subject's hash
-- ARGV   the time (now.lua), field, bucket width in microseconds,
--        then pairs: microseconds ago, count
-- The row's layout stands in window.lua.

local width = tonumber(ARGV[3])
local current = math.floor(now / width)
local counts = {}

local function note(bucket, count)
  if bucket >= current - 60 then counts[bucket] = (counts[bucket] or 0) + count end
end

local data = redis.call('HGET', KEYS[1], ARGV[2])
if data then
  local newest = struct.unpack('<d', data)
  if current - newest <= 60 then
    for place = 13, #data - 5, 6 do
      local bucket, count = struct.unpack('<HI4', data, place)
      note(newest - (newest - bucket) % 65536, count)
    end
  end
end
for place = 4, #ARGV, 2 do
  note(math.floor((now - tonumber(ARGV[place])) / width), tonumber(ARGV[place + 1]))
end

local buckets, total, runs = {}, 0, {}
for bucket in pairs(counts) do buckets[#buckets + 1] = bucket end
if #buckets == 0 then return 0 end
table.sort(buckets)
for number, bucket in ipairs(buckets) do
  total = total + counts[bucket]
  runs[number] = struct.pack('<HI4', bucket % 65536, counts[bucket])
end
redis.call('HSET', KEYS[1], ARGV[2], struct.pack('<dI4', buckets[#buckets], total) .. table.concat(runs))
local needs = math.ceil(61 * width / 1000) + 1000
if redis.call('PTTL', KEYS[1]) < needs then redis.call('PEXPIRE', KEYS[1], math.ceil(needs * 1.25)) end
return total
