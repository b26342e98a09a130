-- Add stages that a command has reached; the first time of each stays, and a forgotten command stays forgotten.
--
-- KEYS  1 command   ARGV  1 memory_s   2... field, value, ... of the stages

if redis.call('EXISTS', KEYS[1]) == 0 then
  return
end
for index = 2, #ARGV, 2 do
  redis.call('HSETNX', KEYS[1], ARGV[index], ARGV[index + 1])
end
redis.call('EXPIRE', KEYS[1], ARGV[1])
