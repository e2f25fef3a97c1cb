-- Writes a breaker if it has not been written since the caller read it, and notifies the other replicas. One script, so
-- that it is atomic. The behaviour of breakers is in breaker.py.
--
-- KEYS  the hash of all breakers (redis_keys.breakers)
-- ARGV  field, value known to the caller ('' for none), new value, channel
--
-- Returns false if written, else the current value ('' for none).
local stands = redis.call('HGET', KEYS[1], ARGV[1]) or ''
if stands ~= ARGV[2] then
  return stands
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
redis.call('PUBLISH', ARGV[4], '')
return false
