-- What must not be two steps about a session or a conversation.
--
-- touch: KEYS session;      ARGV 'touch', seen, idle milliseconds            answer 1, or 0: there is none
-- own:   KEYS conversation; ARGV 'own', session, milliseconds                answer the owner
-- move:  KEYS conversation; ARGV 'move', old owner, new owner                answer 1, or 0: it was not the old one's

local key = KEYS[1]
if ARGV[1] == 'touch' then
  local expires = redis.call('HGET', key, 'e')
  if not expires then return 0 end
  local left = tonumber(ARGV[3])
  if tonumber(expires) > 0 then left = math.min(left, (tonumber(expires) - tonumber(ARGV[2])) * 1000) end
  if left <= 0 then
    redis.call('DEL', key)
    return 0
  end
  redis.call('HSET', key, 's', ARGV[2])
  redis.call('PEXPIRE', key, math.ceil(left))
  return 1
elseif ARGV[1] == 'own' then
  local owner = redis.call('GET', key)
  if owner and owner ~= ARGV[2] then return owner end
  redis.call('SET', key, ARGV[2], 'PX', ARGV[3])
  return ARGV[2]
else
  if redis.call('GET', key) ~= ARGV[2] then return 0 end
  redis.call('SET', key, ARGV[3], 'PX', math.max(1, redis.call('PTTL', key)))
  return 1
end
