-- Stands before the scripts that need the time.
--
-- ARGV   microseconds now, or '' for this server's clock

local now
if ARGV[1] == '' then
  local time = redis.call('TIME')
  now = tonumber(time[1]) * 1000000 + tonumber(time[2])
else
  now = tonumber(ARGV[1])
end
