-- The first words on a new connection: has the server been restarted, or is it another one?
-- Then it may have forgotten claims, and its memory of keys begins anew.
--
-- KEYS[1]  memory (see admit.lua)
-- ARGV[1]  the server's run id
if redis.call('HGET', KEYS[1], 'run') ~= ARGV[1] then
    local clock = redis.call('TIME')
    local now_ms = clock[1] * 1000 + math.ceil(clock[2] / 1000)
    redis.call('HSET', KEYS[1], 'run', ARGV[1], 'since', string.format('%.0f', now_ms))
end
return 1
