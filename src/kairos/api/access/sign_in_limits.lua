-- Counts an attempt in every counter, or in none if one of them is at its limit.
-- KEYS: counters. ARGV: 'take', lifetime of a counter in ms, then the limit of each counter; or 'give'.
-- Returns the time to wait in ms; 0 if the attempt was counted.
if ARGV[1] == 'give' then
  for _, key in ipairs(KEYS) do
    if tonumber(redis.call('GET', key) or '0') > 0 then
      redis.call('DECR', key)
    end
  end
  return 0
end
for i, key in ipairs(KEYS) do
  if tonumber(redis.call('GET', key) or '0') >= tonumber(ARGV[i + 2]) then
    return math.max(1, redis.call('PTTL', key))
  end
end
for _, key in ipairs(KEYS) do
  if redis.call('INCR', key) == 1 then
    redis.call('PEXPIRE', key, ARGV[2])
  end
end
return 0
