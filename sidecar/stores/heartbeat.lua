-- Say that a replica lives, and learn how many do.
--
-- KEYS   the data's mark, the replicas (sorted set by last beat), the counter of resets
-- ARGV   a mark for a server that has none, this replica's name, seconds after which a silent replica is gone
-- answer the mark, live replicas, resets

local time = redis.call('TIME')
local now = tonumber(time[1])
redis.call('SET', KEYS[1], ARGV[1], 'NX')
redis.call('ZADD', KEYS[2], now, ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now - tonumber(ARGV[3]))
return {redis.call('GET', KEYS[1]), redis.call('ZCARD', KEYS[2]), redis.call('GET', KEYS[3]) or '0'}
