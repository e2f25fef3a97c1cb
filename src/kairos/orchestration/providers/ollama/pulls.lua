-- The pulls of one provider: a hash of records, a slot for each running pull, and requests to cancel.
--
-- KEYS  the prefix (redis_keys.model_pulls)
-- A slot holds the id of its pull and expires unless the pull's daemon renews it: a record in the state `running` whose
-- id is in no slot belongs to a daemon that has ended.

local prefix = KEYS[1]
local records = prefix .. 'records'
local command = ARGV[1]
local SLOTS, MOST_RECORDS = 2, 20

local function slot_of(id)
  for i = 1, SLOTS do
    if redis.call('GET', prefix .. 'slot:' .. i) == id then return prefix .. 'slot:' .. i end
  end
end

local function keep(id, record, keep_ms)
  redis.call('HSET', records, id, record)
  redis.call('PEXPIRE', records, keep_ms)
  local ids = redis.call('HKEYS', records)
  table.sort(ids)  -- UUIDv7: by time
  for i = 1, #ids - MOST_RECORDS do
    if not slot_of(ids[i]) then redis.call('HDEL', records, ids[i]) end
  end
end

-- start id record keep_ms lease_ms -> 1, or 0 if every slot is in use
if command == 'start' then
  for i = 1, SLOTS do
    if redis.call('SET', prefix .. 'slot:' .. i, ARGV[2], 'NX', 'PX', ARGV[5]) then
      keep(ARGV[2], ARGV[3], ARGV[4])
      return 1
    end
  end
  return 0
end

-- beat id record keep_ms lease_ms -> 'ok', 'cancel' if somebody asked for it, 'lost' if the slot has expired
if command == 'beat' then
  local slot = slot_of(ARGV[2])
  if not slot then return 'lost' end
  redis.call('PEXPIRE', slot, ARGV[5])
  keep(ARGV[2], ARGV[3], ARGV[4])
  return redis.call('EXISTS', prefix .. 'cancel:' .. ARGV[2]) == 1 and 'cancel' or 'ok'
end

-- finish id record keep_ms -> 1, or 0 if the slot has expired
if command == 'finish' then
  local slot = slot_of(ARGV[2])
  if not slot then return 0 end
  redis.call('DEL', slot, prefix .. 'cancel:' .. ARGV[2])
  keep(ARGV[2], ARGV[3], ARGV[4])
  return 1
end

-- remove id: a pull that did not begin
if command == 'remove' then
  local slot = slot_of(ARGV[2])
  if slot then redis.call('DEL', slot) end
  redis.call('HDEL', records, ARGV[2])
  return 1
end

-- cancel id ms -> 1, or 0 if it is not running
if command == 'cancel' then
  if not slot_of(ARGV[2]) then return 0 end
  redis.call('SET', prefix .. 'cancel:' .. ARGV[2], 1, 'PX', ARGV[3])
  return 1
end

-- list -> the records, and the ids in the slots
if command == 'list' then
  local running = {}
  for i = 1, SLOTS do
    running[i] = redis.call('GET', prefix .. 'slot:' .. i) or ''
  end
  return { redis.call('HVALS', records), running }
end

return redis.error_reply('ERR unknown command')
