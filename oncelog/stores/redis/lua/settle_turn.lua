-- Raise what is known of an aggregate's log, never lower it, and give up the turn if asked to.
--
-- KEYS  1 turn   2 waiting   3 seen   4 head   (see take_turn.lua)
-- ARGV  1 holder   2 sequence number of the head, '' to leave it   3 state at that head, '' if too large to keep
--       4 published   5 '1' to give up the turn   6 memory_s: how long it is remembered
--       7 watermark: the field that has it

local turn, waiting, seen, head = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local holder, sequence, state, published, release, memory_s, watermark = unpack(ARGV)

-- What is not a number counts as not known, and is replaced.
local known = redis.call('HMGET', head, 'head', watermark)
local known_head, known_published = tonumber(known[1] or ''), tonumber(known[2] or '')

if sequence ~= '' and tonumber(sequence) >= (known_head or 0) then
  redis.call('HSET', head, 'head', sequence)
  if state ~= '' then
    redis.call('HSET', head, 'state', state)
  else
    redis.call('HDEL', head, 'state')
  end
end
if (sequence ~= '' or published ~= '0') and tonumber(published) >= (known_published or 0) then
  redis.call('HSET', head, watermark, published)
end
redis.call('EXPIRE', head, memory_s)

if release == '1' then
  if redis.call('GET', turn) == holder then
    redis.call('DEL', turn)
  end
  redis.call('ZREM', waiting, holder)
  redis.call('ZREM', seen, holder)
end
