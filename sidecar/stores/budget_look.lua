-- How budgets stand for one subject: reads the accounts of budget.lua and changes none.
--
-- KEYS   hash and sorted set of each budget in turn
-- ARGV   the time (now.lua); for each budget: width of a sub-bucket in microseconds
-- answer for each budget: used, held, microseconds until nothing counts any more

local RUN = 16
local out = {}
for number = 1, #KEYS / 2 do
  local key, set, width = KEYS[number * 2 - 1], KEYS[number * 2], tonumber(ARGV[number + 1])
  local stored = redis.call('HMGET', key, 'held', 'used')
  local held, packed = tonumber(stored[1] or 0), stored[2] or ''
  local current, used, newest = math.floor(now / width), 0, nil
  for place = 1, #packed, RUN do
    local bucket, amount = struct.unpack('<dd', packed, place)
    if bucket >= current - 60 then
      used, newest = used + amount, bucket
    end
  end
  for _, gone in ipairs(redis.call('ZRANGE', set, '-inf', math.floor(now / 1000), 'BYSCORE')) do
    held = held - tonumber(redis.call('HGET', key, 'h:' .. gone) or 0)
  end
  out[#out + 1] = used
  out[#out + 1] = held
  out[#out + 1] = newest and math.max(0, (newest + 61) * width - now) or 0
end
return out
