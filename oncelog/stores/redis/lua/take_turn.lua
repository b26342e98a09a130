-- Grant the turn on an aggregate, or keep a place in its queue.
--
-- KEYS  1 turn: who holds it, with its lease as TTL   2 waiting: holder -> ticket   3 seen: holder -> last asked, ms
--       4 head: what is known of the log
-- ARGV  1 holder   2 lease_ms   3 patience_ms: one who has not asked for so long has left the queue
--       4 '1' to stand in the queue   5 watermark: the field that has it
-- gives {1, head, published, state} (each false if not known), or {0, how many come before us}

local turn, waiting, seen, head = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local holder, lease_ms, patience_ms = ARGV[1], ARGV[2], ARGV[3]

local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)

local gone = redis.call('ZRANGE', seen, '-inf', now_ms - patience_ms, 'BYSCORE')
for _, name in ipairs(gone) do
  redis.call('ZREM', waiting, name)
  redis.call('ZREM', seen, name)
end

local current = redis.call('GET', turn)
if current and redis.call('PTTL', turn) == -1 then
  current = false -- without a lease it is none of ours, and nobody would ever give it up
end
local first = redis.call('ZRANGE', waiting, 0, 0)[1]
if current == holder or (not current and (not first or first == holder)) then
  redis.call('SET', turn, holder, 'PX', lease_ms)
  redis.call('ZREM', waiting, holder)
  redis.call('ZREM', seen, holder)
  local known = redis.call('HMGET', head, 'head', ARGV[5], 'state')
  return {1, known[1], known[2], known[3]}
end

if ARGV[4] ~= '1' then
  return {0, redis.call('ZCARD', waiting) + (current and 1 or 0)}
end
if not redis.call('ZSCORE', waiting, holder) then
  -- a ticket above the last one, and no clock, so that a clock set back changes nobody's place
  local last = redis.call('ZRANGE', waiting, -1, -1, 'WITHSCORES')
  redis.call('ZADD', waiting, (last[2] or 0) + 1, holder)
end
redis.call('ZADD', seen, now_ms, holder)
redis.call('PEXPIRE', waiting, patience_ms)
redis.call('PEXPIRE', seen, patience_ms)
return {0, redis.call('ZRANK', waiting, holder) + (current and 1 or 0)}
