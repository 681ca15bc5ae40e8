-- Budgets, the twin of memory_budgets.py: all claims of one request, or none.
--
-- A subject's account of one budget is two keys: a hash with
--   spent (amount), held (amount), used (packed runs, oldest first: sub-bucket, amount, both double),
--   h:HOLDER (amount that is kept for one request)
-- and a sorted set of the holders by the millisecond at which their hold ends unless it is renewed.
-- KEYS   hash and sorted set of each claim in turn
-- ARGV   the time (now.lua), holder, milliseconds that a hold lasts (0: it is only looked at);
--        for each claim: limit, width of a sub-bucket in microseconds, hold, least, spend, bound (1 or 0)
-- answer for each claim: held, left, microseconds to wait; -1 for the wait: only holds are in the way

local holder, ttl = ARGV[2], tonumber(ARGV[3])
local milliseconds = math.floor(now / 1000)
local RUN = 16

local function whole(number) return string.format('%.0f', number) end

local function load(key, set, current)
  local stored = redis.call('HMGET', key, 'spent', 'held', 'used', 'h:' .. holder)
  local account = {
    spent = tonumber(stored[1] or 0), held = tonumber(stored[2] or 0), used = stored[3] or '',
    before = tonumber(stored[4] or 0)
  }
  local place = 1
  while place < #account.used do
    local bucket, amount = struct.unpack('<dd', account.used, place)
    if bucket >= current - 60 then break end
    account.spent = account.spent - amount
    place = place + RUN
  end
  account.used = string.sub(account.used, place)
  for _, gone in ipairs(redis.call('ZRANGE', set, '-inf', milliseconds, 'BYSCORE')) do
    local amount = tonumber(redis.call('HGET', key, 'h:' .. gone) or 0)
    redis.call('HDEL', key, 'h:' .. gone)
    redis.call('ZREM', set, gone)
    account.held = account.held - amount
    if gone == holder then account.before = 0 end
  end
  return account
end

local function spend(account, amount, current)
  while amount < 0 and account.used ~= '' do
    local bucket, before = struct.unpack('<dd', account.used, #account.used - RUN + 1)
    local back = math.min(-amount, before)
    amount = amount + back
    account.spent = account.spent - back
    account.used = string.sub(account.used, 1, -RUN - 1)
    if before > back then account.used = account.used .. struct.pack('<dd', bucket, before - back) end
  end
  if amount <= 0 then return end
  account.spent = account.spent + amount
  if account.used ~= '' then
    local bucket, before = struct.unpack('<dd', account.used, #account.used - RUN + 1)
    if bucket >= current then
      account.used = string.sub(account.used, 1, -RUN - 1) .. struct.pack('<dd', bucket, before + amount)
      return
    end
  end
  account.used = account.used .. struct.pack('<dd', current, amount)
end

local function wait(account, claim)
  local excess = account.spent + claim.least - claim.limit
  if excess <= 0 then return -1 end
  local bucket = claim.current
  for place = 1, #account.used, RUN do
    local amount
    bucket, amount = struct.unpack('<dd', account.used, place)
    excess = excess - amount
    if excess <= 0 then break end
  end
  return math.max(1, (bucket + 61) * claim.width - now)
end

local claims, fits = {}, true
for number = 1, #KEYS / 2 do
  local at = 4 + (number - 1) * 6
  local claim = {
    key = KEYS[number * 2 - 1], set = KEYS[number * 2],
    limit = tonumber(ARGV[at]), width = tonumber(ARGV[at + 1]), hold = tonumber(ARGV[at + 2]),
    least = tonumber(ARGV[at + 3]), spend = tonumber(ARGV[at + 4]), bound = ARGV[at + 5] == '1'
  }
  claim.current = math.floor(now / claim.width)
  claim.account = load(claim.key, claim.set, claim.current)
  spend(claim.account, claim.spend, claim.current)
  claim.room = claim.limit - claim.account.spent - claim.account.held + claim.account.before
  claim.given = claim.hold
  if claim.bound then
    claim.given = math.min(claim.hold, claim.room)
    if claim.given < claim.least then fits = false end
  end
  claim.given = math.max(0, claim.given)
  claims[number] = claim
end

local out = {}
for _, claim in ipairs(claims) do
  local account, kept = claim.account, claim.given
  if not fits then kept = math.min(kept, math.max(0, account.before - claim.spend)) end
  local stays = ttl > 0 and kept or 0
  account.held = account.held + stays - account.before
  redis.call('HSET', claim.key, 'spent', whole(account.spent), 'held', whole(account.held), 'used', account.used)
  if stays > 0 then
    redis.call('HSET', claim.key, 'h:' .. holder, whole(kept))
    redis.call('ZADD', claim.set, milliseconds + ttl, holder)
  elseif account.before > 0 then
    redis.call('HDEL', claim.key, 'h:' .. holder)
    redis.call('ZREM', claim.set, holder)
  end
  local needs = math.ceil(61 * claim.width / 1000) + ttl
  redis.call('PEXPIRE', claim.key, needs)
  redis.call('PEXPIRE', claim.set, needs)
  local retry = 0
  if not fits and claim.bound and claim.room < claim.least then retry = wait(account, claim) end
  out[#out + 1] = kept
  out[#out + 1] = claim.limit - account.spent - account.held
  out[#out + 1] = retry
end
return out
