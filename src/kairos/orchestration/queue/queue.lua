-- The fair queue of one lane (shared/queue.md). Every operation is one call of this script, so it is atomic.
-- Redis 6.2 or newer, or Valkey; nothing newer is used.
--
-- KEYS  the lane's stem, with its hash tag; all names below begin with it (redis_keys.py lists them as well, and a test
--       compares). One key and not twelve: packing each costs the caller as much as a command costs the server.
-- ARGV  the operation, then what it takes
local lane = KEYS[1]
local turn = lane .. 'turn' --         zset  project -> virtual time: the projects that may run now
local vt = lane .. 'vt' --             the lane's virtual clock
local last = lane .. 'last' --         hash  project -> the virtual time of its next turn
local cap = lane .. 'cap' --           hash  project -> running tasks at most
local weight = lane .. 'weight' --     hash  project -> share
local bell = lane .. 'bell' --         list  what idle daemons sleep on
local due = lane .. 'due' --           zset  project -> when its first delayed task comes (ms)
local projects = lane .. 'projects' -- set   projects with anything in the lane
-- and for each project, by its id:
local WAIT = lane .. 'wait:' --        zset  task -> priority and order
local RUN = lane .. 'run:' --          zset  task -> taken at (ms)
local LATER = lane .. 'later:' --      zset  task -> when it comes (ms)
local ORDER = lane .. 'order:' --      hash  task of LATER -> its score in WAIT

local call = redis.call

local BELLS = 64 -- more than daemons that sleep at once; a bell never grows beyond
local PROMOTED_TASKS, PROMOTED_PROJECTS = 50, 16 -- in one call, so that none takes long; the next goes on
local LEAST_WEIGHT = .01

-- The server's clock: daemons on several machines would disagree.
local time = call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local rung = false
local function ring() -- once a call: who wakes rings for the next, if there is more to take
  if not rung and call('LLEN', bell) < BELLS then call('RPUSH', bell, 1) end
  rung = true
end

local function room(p)
  local limit = call('HGET', cap, p)
  return not limit or call('ZCARD', RUN .. p) < tonumber(limit)
end

-- A lost clock is set by the first in turn. `last` is then from an era that nobody can compare with, and goes.
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

-- What has come due waits; `due` says when the next one comes. A new first of all is news to those asleep.
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

-- Every operation ends here: a project with something waiting and room under its cap stands in turn, any other
-- does not. So any operation on a project mends whatever was lost of it. `start` is given where it is known.
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
    call('DEL', ORDER .. p) -- left over where LATER was lost
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

-- The head task of the first project in turn, which moves on by 1/weight; nil where that project had none to give.
local function next_of(p, v)
  local task = room(p) and call('ZPOPMIN', WAIT .. p)[1]
  if task then
    local start = v + 1 / math.max(tonumber(call('HGET', weight, p) or 1), LEAST_WEIGHT)
    call('ZADD', RUN .. p, now, task)
    call('SET', vt, v)
    call('HSET', last, p, start)
    wake(p, start)
  else
    wake(p) -- out of turn, unless it is due something just now
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
  call('SADD', projects, p) -- first, for a full server refuses it, but nothing that follows a removal
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
  if call('EXISTS', turn) == 0 then call('DEL', bell) end -- nothing left to be woken for
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

-- project, tasks that PostgreSQL knows to be running: they count under the cap again
function operations.adopt(p, ...)
  for _, task in ipairs({ ... }) do
    call('ZREM', WAIT .. p, task)
    forget_delay(p, task)
    call('ZADD', RUN .. p, 'NX', now, task)
  end
  wake(p)
end

-- project, tasks -> those of them that are in none of the three
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

-- age in ms, projects -> project, task, ... taken longer ago than that
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

-- -> ms until there may be something to take: 0 now, -1 unknown
function operations.pause()
  if call('EXISTS', turn) == 1 then return 0 end
  local first = call('ZRANGE', due, 0, 0, 'WITHSCORES')
  if not first[1] then return -1 end
  return math.max(0, first[2] - now)
end

function operations.cap(p, value) setting(cap, p, value) end

function operations.weight(p, value) setting(weight, p, value) end

operations.poke = wake

-- the project as if it had never been: for one that is erased
function operations.forget(p)
  call('UNLINK', WAIT .. p, RUN .. p, LATER .. p, ORDER .. p)
  for _, set in ipairs({ turn, due }) do call('ZREM', set, p) end
  for _, hash in ipairs({ last, cap, weight }) do call('HDEL', hash, p) end
  call('SREM', projects, p)
end

return operations[ARGV[1]](unpack(ARGV, 2))
