-- Writes a breaker if nobody has written it since the writer read it, and tells the others. One script, so that it is
-- atomic; what a breaker does, breaker.py alone knows.
--
-- KEYS  the hash of all breakers (redis_keys.breakers)
-- ARGV  field, value as the writer knows it ('' for none), new value, channel
--
-- Answers false when written, else the value that stands ('' for none).
local stands = redis.call('HGET', KEYS[1], ARGV[1]) or ''
if stands ~= ARGV[2] then
  return stands
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
redis.call('PUBLISH', ARGV[4], '')
return false
