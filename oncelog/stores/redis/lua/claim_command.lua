-- Claim a command ID, or say what stands under it.
--
-- KEYS  1 command   ARGV  1 memory_s   2... field, value, ... of the status
-- gives false if it is claimed now, else all fields and values that stand

if redis.call('EXISTS', KEYS[1]) == 1 then
  return redis.call('HGETALL', KEYS[1])
end
redis.call('HSET', KEYS[1], unpack(ARGV, 2))
redis.call('EXPIRE', KEYS[1], ARGV[1])
return false
