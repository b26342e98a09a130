-- Keep a command's final status; the first time of each stage stays, unless it is that of another content.
--
-- KEYS  1 command
-- ARGV  1 memory_s   2 command_hash   3 how many of what follows are to be set anew: field, value, ... of the status,
--       then field, value, ... of the stages

local standing = redis.call('HGET', KEYS[1], 'command_hash')
if standing and standing ~= ARGV[2] then
  redis.call('DEL', KEYS[1])
end
local stages_at = 4 + ARGV[3]
redis.call('HSET', KEYS[1], unpack(ARGV, 4, stages_at - 1))
for index = stages_at, #ARGV, 2 do
  redis.call('HSETNX', KEYS[1], ARGV[index], ARGV[index + 1])
end
redis.call('EXPIRE', KEYS[1], ARGV[1])
