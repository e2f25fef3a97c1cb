-- The fair queue of one lane (docs/queue.md). Each operation is one call of this script and therefore atomic.
-- Requires Redis 6.2 or newer, or Valkey.
--
-- KEYS  prefix of the lane's keys, with its hash tag (redis_keys.py lists the keys too, and a test compares them). One
--       prefix instead of twelve keys: encoding each key costs the caller as much as a command costs the server.
-- ARGV  the operation, then its arguments
local lane = KEYS[1]
local turn = lane .. 'turn' --         zset  project -> virtual time: projects with a task that may run now
local vt = lane .. 'vt' --             the lane's virtual clock
local last = lane .. 'last' --         hash  project -> the virtual time of its next turn
local cap = lane .. 'cap' --           hash  project -> maximum of running tasks
local weight = lane .. 'weight' --     hash  project -> share
local bell = lane .. 'bell' --         list  idle daemons block on it (BLPOP)
local due = lane .. 'due' --           zset  project -> due time of its first delayed task (ms)
local projects = lane .. 'projects' -- set   projects with any task in the lane
-- and for each project id:
local WAIT = lane .. 'wait:' --        zset  task -> priority and order
local RUN = lane .. 'run:' --          zset  task -> time of the take (ms)
local LATER = lane .. 'later:' --      zset  task -> due time (ms)
local ORDER = lane .. 'order:' --      hash  task of LATER -> its score in WAIT

local call = redis.call

local BELLS = 64 -- maximum length of the bell: more than the number of idle daemons
local PROMOTED_TASKS, PROMOTED_PROJECTS = 50, 16 -- limits for one call, to keep it short; the next call continues
local LEAST_WEIGHT = .01

-- The server's clock, because the clocks of several machines differ.
local time = call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local rung = false
local function ring() -- at most once in a call: the daemon that wakes rings again if there is more to take
  if not rung and call('LLEN', bell) < BELLS then call('RPUSH', bell, 1) end
  rung = true
end

local function room(p)
  local limit = call('HGET', cap, p)
  return not limit or call('ZCARD', RUN .. p) < tonumber(limit)
end

-- The virtual clock. If it was lost, it restarts at the first project's time, and `last` is deleted as not comparable.
local function clock()
  local t = call('GET', vt)
  if t then return tonumber(t) end
  call('DEL', last)
  local first = call('ZRANGE', turn, 0, 0, 'WITHSCORES')
  return tonumber(first[2] or 0)
end

local function forget_delay(p, task)
  if call('ZREM', LATER .. p, task) == 1 then call('HDEL', ORDER .. p, task) end
end

-- Move due tasks to WAIT and update `due`. If the lane's first due time changed, wake an idle daemon.
local function promote(p)
  for _, task in ipairs(call('ZRANGEBYSCORE', LATER .. p, '-inf', now, 'LIMIT', 0, PROMOTED_TASKS)) do
    call('ZADD', WAIT .. p, 'NX', call('HGET', ORDER .. p, task) or now, task)
    forget_delay(p, task)
  end
  local first = call('ZRANGE', LATER .. p, 0, 0, 'WITHSCORES')
  if not first[1] then
    call('ZREM', due, p)
  elseif call('ZADD', due, 'CH', first[2], p) == 1 and call('ZRANK', due, p) == 0 then
    ring()
  end
end

-- Every operation ends here. A project is in `turn` if it has waiting tasks and room under its cap, so any operation on a
-- project also repairs lost entries. `start` is its virtual time, where the caller knows it.
local function wake(p, start)
  promote(p)
  local waiting = call('EXISTS', WAIT .. p) == 1
  if waiting and room(p) then
    if start then
      call('ZADD', turn, start, p)
    elseif not call('ZSCORE', turn, p) then
      start = clock()
      call('ZADD', turn, math.max(start, tonumber(call('HGET', last, p) or 0)), p)
    end
    ring()
  else
    call('ZREM', turn, p)
  end
  if waiting or call('EXISTS', RUN .. p, LATER .. p) > 0 then
    call('SADD', projects, p)
  else
    call('SREM', projects, p)
    call('DEL', ORDER .. p) -- remains if LATER was lost
  end
end

local function place(p, task, score, delay)
  if call('ZSCORE', RUN .. p, task) then return end
  if delay <= 0 then
    forget_delay(p, task)
    call('ZADD', WAIT .. p, 'NX', score, task)
  elseif not call('ZSCORE', WAIT .. p, task) and call('ZADD', LATER .. p, 'NX', now + delay, task) == 1 then
    call('HSET', ORDER .. p, task, score)
  end
end

-- Take the first task of the first project in `turn`, and advance the project by 1/weight; nil if it has no task.
local function next_of(p, v)
  local task = room(p) and call('ZPOPMIN', WAIT .. p)[1]
  if task then
    local start = v + 1 / math.max(tonumber(call('HGET', weight, p) or 1), LEAST_WEIGHT)
    call('ZADD', RUN .. p, now, task)
    call('SET', vt, v)
    call('HSET', last, p, start)
    wake(p, start)
  else
    wake(p) -- leaves `turn`, unless a delayed task has just become due
  end
  return task
end

local function setting(hash, p, value)
  if value == '' then call('HDEL', hash, p) else call('HSET', hash, p, value) end
  wake(p)
end

local operations = {}

-- project, then (task, score, delay in ms) for each
function operations.put(p, ...)
  call('SADD', projects, p) -- first: a server without free memory rejects it before anything was changed
  local items = { ... }
  for i = 1, #items, 3 do place(p, items[i], items[i + 1], tonumber(items[i + 2])) end
  wake(p)
end

-- how many -> project, task, project, task, ...
function operations.take(k)
  for _, p in ipairs(call('ZRANGEBYSCORE', due, '-inf', now, 'LIMIT', 0, PROMOTED_PROJECTS)) do wake(p) end
  local taken = {}
  while #taken < 2 * k do
    local first = call('ZRANGE', turn, 0, 0, 'WITHSCORES')
    if not first[1] then break end
    local task = next_of(first[1], tonumber(first[2]))
    if task then taken[#taken + 1] = first[1]; taken[#taken + 1] = task end
  end
  if call('EXISTS', turn) == 0 then call('DEL', bell) end -- nothing left to take
  return taken
end

function operations.done(p, task)
  local freed = call('ZREM', RUN .. p, task)
  wake(p)
  return freed
end

function operations.remove(p, task)
  call('ZREM', WAIT .. p, task)
  forget_delay(p, task)
  wake(p)
end

-- project, tasks that run according to PostgreSQL: count them as running again
function operations.adopt(p, ...)
  for _, task in ipairs({ ... }) do
    call('ZREM', WAIT .. p, task)
    forget_delay(p, task)
    call('ZADD', RUN .. p, 'NX', now, task)
  end
  wake(p)
end

-- project, tasks -> those that are neither waiting, running nor delayed
function operations.missing(p, ...)
  local tasks, found = { ... }, {}
  for _, stem in ipairs({ WAIT, RUN, LATER }) do
    for i, score in ipairs(call('ZMSCORE', stem .. p, ...)) do found[i] = found[i] or score end
  end
  wake(p)
  local gone = {}
  for i, task in ipairs(tasks) do
    if not found[i] then gone[#gone + 1] = task end
  end
  return gone
end

-- age in ms, projects -> project, task, ... of tasks taken longer ago
function operations.stale(age, ...)
  local stale = {}
  for _, p in ipairs({ ... }) do
    for _, task in ipairs(call('ZRANGEBYSCORE', RUN .. p, '-inf', '(' .. (now - age))) do
      stale[#stale + 1] = p; stale[#stale + 1] = task
    end
  end
  return stale
end

-- projects -> waiting, running, delayed of each
function operations.depth(...)
  local counts = {}
  for _, p in ipairs({ ... }) do
    for _, stem in ipairs({ WAIT, RUN, LATER }) do counts[#counts + 1] = call('ZCARD', stem .. p) end
  end
  return counts
end

-- -> ms until a task may be available: 0 now, -1 unknown
function operations.pause()
  if call('EXISTS', turn) == 1 then return 0 end
  local first = call('ZRANGE', due, 0, 0, 'WITHSCORES')
  if not first[1] then return -1 end
  return math.max(0, first[2] - now)
end

function operations.cap(p, value) setting(cap, p, value) end

function operations.weight(p, value) setting(weight, p, value) end

-- delete all keys of a project that is erased
function operations.forget(p)
  call('UNLINK', WAIT .. p, RUN .. p, LATER .. p, ORDER .. p)
  for _, set in ipairs({ turn, due }) do call('ZREM', set, p) end
  for _, hash in ipairs({ last, cap, weight }) do call('HDEL', hash, p) end
  call('SREM', projects, p)
end

return operations[ARGV[1]](unpack(ARGV, 2))
