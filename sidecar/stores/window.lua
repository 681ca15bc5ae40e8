-- Sliding windows, the twin of sliding_window.py: all limits of some requests, each request all or none.
--
-- A subject has one hash; a limit has one field in it, a packed row:
--   newest bucket (double), total (uint32), then up to 61 runs, oldest first: bucket mod 65536 (uint16), count (uint32)
-- KEYS   for each request in turn: the hash of its session, if it has one, and its subjects' hashes, one for each ask
-- ARGV   the time (now.lua), mode (take | peek | give), how many sets of limits;
--        for each set: how many limits, and for each limit: field, limit (negative: only looked at, neither
--        counted nor refusing), bucket width in microseconds;
--        then for each request: the number of its set; negative, if it has a session: how the session's data begin
-- answer for each request: when its session was seen, or nil alone if it is gone or another one: nothing is taken then;
--        1 or 0, then for each ask: count, microseconds to wait, microseconds until empty

local mode = ARGV[2]
local unpack_head, pack_head = '<dI4', '<dI4'
local floor = math.floor

-- Return newest bucket, total, packed runs that still count, number of them in bytes.
local function load(key, field, current)
  local data = redis.call('HGET', key, field)
  if not data then return current, 0, '' end
  local newest, total = struct.unpack(unpack_head, data)
  if current - newest > 60 then return current, 0, '' end
  local place = 13
  while place < #data do
    local bucket, count = struct.unpack('<HI4', data, place)
    if newest - (newest - bucket) % 65536 >= current - 60 then break end
    total = total - count
    place = place + 6
  end
  return newest, total, string.sub(data, place)
end

-- Return the bucket with whose end the row falls below the limit.
local function frees(newest, total, runs, limit)
  local excess = total - limit + 1
  for place = 1, #runs, 6 do
    local bucket, count = struct.unpack('<HI4', runs, place)
    excess = excess - count
    if excess <= 0 then return newest - (newest - bucket) % 65536 end
  end
  return newest
end

local function store(key, field, newest, total, runs, width)
  redis.call('HSET', key, field, struct.pack(pack_head, newest, total) .. runs)
  local needs = math.ceil(61 * width / 1000) + 1000
  if redis.call('PTTL', key) < needs then redis.call('PEXPIRE', key, math.ceil(needs * 1.25)) end
end

local function add(newest, runs, current)
  if runs ~= '' and current <= newest then -- also when a new primary's clock is behind
    local bucket, count = struct.unpack('<HI4', runs, #runs - 5)
    return newest, string.sub(runs, 1, -7) .. struct.pack('<HI4', bucket, count + 1)
  end
  return current, runs .. struct.pack('<HI4', current % 65536, 1)
end

local function take_back(runs)
  local bucket, count = struct.unpack('<HI4', runs, #runs - 5)
  if count > 1 then return string.sub(runs, 1, -7) .. struct.pack('<HI4', bucket, count - 1) end
  return string.sub(runs, 1, -7)
end

local sets, place = {}, 4
for number = 1, tonumber(ARGV[3]) do
  local limits = {}
  for which = 1, tonumber(ARGV[place]) do
    local at = place + 1 + (which - 1) * 3
    local most = tonumber(ARGV[at + 1])
    limits[which] = {field = ARGV[at], limit = math.abs(most), looked = most < 0, width = tonumber(ARGV[at + 2])}
  end
  place = place + 1 + #limits * 3
  sets[number] = limits
end

-- Return when a session was seen, false unless it is the one whose data begin like that.
local function seen(key, mark)
  local held = redis.call('HMGET', key, 'd', 's')
  return held[1] and string.sub(held[1], 1, #mark) == mark and held[2]
end

local out, key = {}, 0

local function decide(limits)
  local asks, allowed = {}, mode ~= 'peek'
  for number, limit in ipairs(limits) do
    key = key + 1
    local ask = {key = KEYS[key], field = limit.field, limit = limit.limit, looked = limit.looked, width = limit.width}
    ask.current = floor(now / ask.width)
    ask.newest, ask.total, ask.runs = load(ask.key, ask.field, ask.current)
    if ask.total >= ask.limit and not ask.looked then allowed = false end
    asks[number] = ask
  end
  out[#out + 1] = allowed and 1 or 0
  for _, ask in ipairs(asks) do
    if mode == 'give' then
      if ask.total > 0 then
        store(ask.key, ask.field, ask.newest, ask.total - 1, take_back(ask.runs), ask.width)
      end
    elseif allowed and not ask.looked then
      ask.newest, ask.runs = add(ask.newest, ask.runs, ask.current)
      ask.total = ask.total + 1
      store(ask.key, ask.field, ask.newest, ask.total, ask.runs, ask.width)
    end
    local wait, empty = 0, 0
    if ask.total >= ask.limit then
      wait = (frees(ask.newest, ask.total, ask.runs, ask.limit) + 61) * ask.width - now
    end
    if ask.total > 0 then empty = (ask.newest + 61) * ask.width - now end
    out[#out + 1] = ask.total
    out[#out + 1] = wait
    out[#out + 1] = empty
  end
end

while place <= #ARGV do
  local number = tonumber(ARGV[place])
  local limits, found = sets[math.abs(number)], true
  place = place + 1
  if number < 0 then
    key = key + 1
    found = seen(KEYS[key], ARGV[place])
    place = place + 1
    out[#out + 1] = found
  end
  if found then decide(limits) else key = key + #limits end
end
return out
