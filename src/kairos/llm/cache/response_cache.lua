-- The cached answers of one project. Every operation is one call of this script, so it is atomic.
-- Requires Redis 6.2 or Valkey.
--
-- KEYS  the prefix of the project's keys, with its hash tag (redis_keys.response_cache); for `report` that of the total
-- ARGV  the operation and its arguments
--
-- Answers are fields of one hash and not separate keys: keys that Redis expires would make the byte count wrong. Expired
-- answers are removed when read, when the next answer is stored, or with the whole project.
local stem = KEYS[1]
local answers = stem .. 'answers' --     hash   digest -> stamp, expiry (ms), decision, packed answer
local used = stem .. 'used' --           zset   digest -> last use (ms)
local decisions = stem .. 'decisions' -- hash   decision -> digest
local size = stem .. 'size' --           int    bytes of all answers, as `weight` counts them
local about = stem .. 'about' --         hash   epoch, flushes and the counters; kept when answers are removed
local LEASE = stem .. 'lease:' --        string digest -> token of the lease holder

local call = redis.call

-- Overhead of an answer in the three collections above, measured with MEMORY USAGE.
local OVERHEAD = 400
local AT_ONCE = 500 -- answers removed per call: about 2 ms, during which the queue waits

local time = call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

-- An answer is valid only while its stamp equals the project's. A flush invalidates stored and pending answers; a raised
-- epoch does so if the router chose the model.
local function stamp(follows)
  local marks = call('HMGET', about, 'flushes', 'epoch')
  local flushes, epoch = marks[1] or '0', marks[2] or '0'
  return follows == '1' and flushes .. '.' .. epoch or flushes
end

local function bytes()
  return tonumber(call('GET', size) or 0)
end

local function weight(value)
  return #value + OVERHEAD
end

-- Removes an answer. Returns whether there was one.
local function remove(digest)
  local value = call('HGET', answers, digest)
  call('ZREM', used, digest)
  if not value then return false end
  local decision = value:match('^%S+ %S+ (%S+)')
  call('HDEL', answers, digest)
  if call('HGET', decisions, decision) == digest then call('HDEL', decisions, decision) end
  call('DECRBY', size, weight(value))
  return true
end

-- Removes least recently used answers down to `room` bytes, and all that were last used before `idle`. Returns the
-- remaining bytes.
local function shrink(room, idle)
  for _ = 1, AT_ONCE do
    local oldest = call('ZRANGE', used, 0, 0, 'WITHSCORES')
    if not oldest[1] or bytes() <= room and tonumber(oldest[2]) > idle then break end
    remove(oldest[1])
  end
  return bytes()
end

-- All keys of a project expire with its youngest answer, so that the byte count stays correct.
local function live(ttl)
  local longest = math.max(ttl, call('PTTL', answers))
  for _, name in ipairs({ answers, used, decisions, size }) do
    call('PEXPIREAT', name, now + longest)
  end
end

local function unlock(digest, token)
  local lease = LEASE .. digest
  return call('GET', lease) == token and call('DEL', lease) or 0
end

local operations = {}

-- Returns a stored answer, or grants a free lease if a token is given, or returns the lease's holder.
function operations.ask(digest, follows, read, token, lease_ms)
  local mark = stamp(follows)
  local value = read == '1' and call('HGET', answers, digest)
  if value then
    local put_under, expiry = value:match('^(%S+) (%d+)')
    if put_under == mark and tonumber(expiry) > now then
      call('ZADD', used, now, digest)
      return { 'hit', value }
    end
    remove(digest)
  end
  if token == '' then return { 'free', mark } end
  local lease = LEASE .. digest
  if call('SET', lease, token, 'NX', 'PX', lease_ms) then return { 'leased', mark } end
  return { 'held', mark, call('GET', lease) }
end

-- Stores an answer. Returns the result and the project's bytes.
function operations.put(digest, follows, token, mark, ttl, limit, decision, packed)
  unlock(digest, token)
  if stamp(follows) ~= mark then return { 'void', bytes() } end
  remove(digest)
  local value = table.concat({ mark, now + ttl, decision, packed }, ' ')
  local room = limit - weight(value)
  if room < 0 then return { 'too_large', bytes() } end
  if shrink(room, now - ttl) > room then return { 'full', bytes() } end
  call('HSET', answers, digest, value)
  call('ZADD', used, now, digest)
  call('HSET', decisions, decision, digest)
  call('INCRBY', size, weight(value))
  live(tonumber(ttl))
  return { 'stored', bytes() }
end

function operations.renew(digest, token, lease_ms)
  local lease = LEASE .. digest
  return call('GET', lease) == token and call('PEXPIRE', lease, lease_ms) or 0
end

operations.unlock = unlock

function operations.drop(digest)
  return remove(digest) and 1 or 0
end

function operations.drop_decision(decision)
  local digest = call('HGET', decisions, decision)
  return digest and remove(digest) and 1 or 0
end

function operations.flush()
  local amount = call('HLEN', answers)
  call('UNLINK', answers, used, decisions, size)
  call('HINCRBY', about, 'flushes', 1)
  return amount
end

function operations.count(...)
  local pairs_of = { ... }
  for i = 1, #pairs_of, 2 do
    call('HINCRBY', about, pairs_of[i], pairs_of[i + 1])
  end
end

function operations.raise_epoch()
  return call('HINCRBY', about, 'epoch', 1)
end

function operations.stats()
  return { call('HLEN', answers), bytes(), call('HGETALL', about) }
end

function operations.trim(limit)
  return shrink(tonumber(limit), 0)
end

-- Saves a project's size. Returns the reported total over all projects, the largest project, and a random one to measure.
function operations.report(project, amount)
  local sizes, total = stem .. 'sizes', stem .. 'total'
  local before = tonumber(call('ZSCORE', sizes, project) or 0)
  if tonumber(amount) > 0 then call('ZADD', sizes, amount, project) else call('ZREM', sizes, project) end
  local sum = call('INCRBY', total, amount - before)
  local largest = call('ZREVRANGE', sizes, 0, 0, 'WITHSCORES')
  return { sum, largest[1] or project, tonumber(largest[2] or 0), call('ZRANDMEMBER', sizes) or project }
end

return operations[ARGV[1]](unpack(ARGV, 2))
